import { configJsonSchema } from '../../config/reference.ts';
import type { CommonFlags, Run } from '../define.ts';

export const run: Run<CommonFlags> = async function () {
  const schema = configJsonSchema();
  this.output.result(schema, () => JSON.stringify(schema, null, 2));
};
