/** A tool that cannot be had on this machine. The message is one line and ends with what to type or install. */
export class ToolError extends Error {
  override readonly name = 'ToolError';

  /**
   * @param what what is missing or failed, without a full stop
   * @param fix the command or step that mends it
   */
  constructor(what: string, fix: string, options?: ErrorOptions) {
    super(`${what}: ${fix}`.replaceAll(/\s*\n\s*/g, ' '), options);
  }
}
