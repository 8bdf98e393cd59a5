/** strongroom's own version: it goes into manifests. A test compares it with package.json. */
export const TOOL_VERSION = '0.1.0';
