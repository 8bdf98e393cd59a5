/** What a policy document says to one request: the rules of AWS, as far as our documents use them. */
import type { Condition, Statement } from '../../src/policy/document.ts';

export type AskedAction = {
  action: string;
  /** an ARN */
  resource: string;
  /** condition keys of the request; one that is absent is not set */
  context?: Readonly<Record<string, string>>;
};

/** An explicit deny beats every allow; without an allow it is denied, too. */
export function judge(statements: readonly Statement[], asked: AskedAction): 'allow' | 'deny' | 'denied explicitly' {
  const fitting = statements.filter(
    ({ Action, Resource, Condition: condition }) =>
      Action.some((pattern) => like(asked.action, pattern)) &&
      Resource.some((pattern) => like(asked.resource, pattern)) &&
      holds(condition ?? {}, asked.context ?? {}),
  );
  if (fitting.some(({ Effect }) => Effect === 'Deny')) return 'denied explicitly';
  return fitting.length > 0 ? 'allow' : 'deny';
}

/** The Sids of the Allow statements that let it pass. */
export function allowedBy(statements: readonly Statement[], asked: AskedAction): string[] {
  return statements.filter((one) => one.Effect === 'Allow' && judge([one], asked) === 'allow').map(({ Sid }) => Sid);
}

function holds(condition: Condition, context: Readonly<Record<string, string>>): boolean {
  return Object.entries(condition).every(([operator, keys]) =>
    Object.entries(keys).every(([key, expected]) => {
      const values = typeof expected === 'string' ? [expected] : expected;
      const given = context[key];
      switch (operator) {
        case 'Null':
          return values.includes(String(given === undefined));
        case 'Bool':
        case 'StringEquals':
        case 'ForAnyValue:StringEquals':
          return given !== undefined && values.includes(given);
        case 'StringLike':
          return given !== undefined && values.some((pattern) => like(given, pattern));
        default:
          throw new Error(`no rule for ${operator}`);
      }
    }),
  );
}

function like(text: string, pattern: string): boolean {
  const parts = pattern.split('*').map((part) => part.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's').test(text);
}
