/** What the lifecycle rules of a bucket do to backups. Pure. */
import { type Outcome, ok, warning } from './finding.ts';

/** A rule as S3 tells it, as far as it is read. */
export type BucketRule = {
  ID?: string | undefined;
  Status?: string | undefined;
  Prefix?: string | undefined;
  Filter?:
    | {
        Prefix?: string | undefined;
        Tag?: object | undefined;
        And?: { Prefix?: string | undefined } | undefined;
        ObjectSizeGreaterThan?: number | undefined;
        ObjectSizeLessThan?: number | undefined;
      }
    | undefined;
  Expiration?: { Days?: number | undefined; Date?: Date | undefined } | undefined;
  Transitions?: readonly { StorageClass?: string | undefined }[] | undefined;
  NoncurrentVersionExpiration?: { NoncurrentDays?: number | undefined } | undefined;
  AbortIncompleteMultipartUpload?: { DaysAfterInitiation?: number | undefined } | undefined;
};

/** Read only after hours, which is too late on the day. */
const SLOW = new Set(['GLACIER', 'DEEP_ARCHIVE']);

/**
 * `root` is what every key of ours in the bucket begins with. `isVersioned` null = not known. Says what deletes or freezes
 * backups, and what is never cleared away.
 */
export function judgeRules(
  what: string,
  rules: readonly BucketRule[],
  { root, isVersioned, fix }: { root: string; isVersioned: boolean | null; fix: string },
): Outcome[] {
  const own = rules.filter((rule) => rule.Status === 'Enabled' && touches(prefixOf(rule), root));
  const outcomes: Outcome[] = [];
  for (const rule of own) {
    const name = `rule ${rule.ID ?? `for "${prefixOf(rule)}"`}`;
    const { Days, Date: date } = rule.Expiration ?? {};
    if (Days !== undefined || date !== undefined) {
      const when = Days === undefined ? `on ${date?.toISOString() ?? ''}` : `when they are ${Days} days old`;
      outcomes.push(
        warning(
          what,
          `${name} deletes backups ${when}, whatever came after them: also the last good one`,
          `take Expiration out of ${name}, and let strongroom prune remove what is old`,
        ),
      );
    }
    const slow = (rule.Transitions ?? []).find(({ StorageClass }) => SLOW.has(StorageClass ?? ''));
    if (slow !== undefined) {
      outcomes.push(
        warning(
          what,
          `${name} moves backups to ${slow.StorageClass}, where they cannot be read for hours`,
          `make ${name} use GLACIER_IR or STANDARD_IA`,
        ),
      );
    }
  }
  const covering = own.filter((rule) => root.startsWith(prefixOf(rule)) && !isNarrow(rule));
  if (!covering.some(({ AbortIncompleteMultipartUpload: abort }) => abort?.DaysAfterInitiation !== undefined)) {
    outcomes.push(warning(what, 'no rule ends unfinished uploads: what a killed run began costs money for ever', fix));
  }
  const clears = covering.some(({ NoncurrentVersionExpiration: old }) => old?.NoncurrentDays !== undefined);
  if (isVersioned === true && !clears) {
    outcomes.push(warning(what, 'no rule removes old versions: what is deleted or replaced stays for ever', fix));
  }
  return outcomes.length > 0 ? outcomes : [ok(what, `${own.length} rule(s), and none of them deletes a backup`)];
}

function prefixOf({ Filter, Prefix }: BucketRule): string {
  return Filter?.Prefix ?? Filter?.And?.Prefix ?? Prefix ?? '';
}

/** Does it hold for some objects below its prefix only? */
function isNarrow({ Filter }: BucketRule): boolean {
  return (
    Filter?.And !== undefined ||
    Filter?.Tag !== undefined ||
    Filter?.ObjectSizeGreaterThan !== undefined ||
    Filter?.ObjectSizeLessThan !== undefined
  );
}

function touches(prefix: string, root: string): boolean {
  return prefix.startsWith(root) || root.startsWith(prefix);
}
