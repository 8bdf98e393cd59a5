import { LAYOUT_VERSION } from '../../store/layout.ts';
import { TOOL_VERSION } from '../../version.ts';
import type { CommonFlags, Run } from '../define.ts';

export const run: Run<CommonFlags> = async function () {
  const document = { name: 'strongroom', version: TOOL_VERSION, node: process.versions.node, layout: LAYOUT_VERSION };
  this.output.result(
    document,
    () => `strongroom ${document.version} (Node.js ${document.node}, layout ${document.layout})`,
  );
};
