/** What an audit may find, each kind with what it means and what to do; docs/audit.md explains the same. */
import type { StrongroomError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';

/** `notice` = it is right if a run is at work now; everything else is wrong. */
export type Severity = 'wrong' | 'notice';

export const FINDINGS = {
  unread: {
    severity: 'wrong',
    hint: 'what this destination lacks or holds is not known: let it answer, then audit again',
  },

  'manifest-unsigned': { severity: 'wrong', hint: 'it is never trusted; another destination may have the signature' },
  'manifest-foreign': {
    severity: 'wrong',
    hint: 'if the signer is yours, add its public key to signing.trusted; if not, somebody else wrote this',
  },
  'manifest-changed': {
    severity: 'wrong',
    hint: 'treat the bucket as tampered with; bring back an older version, or copy it from another destination',
  },
  'manifest-elsewhere': { severity: 'wrong', hint: 'somebody moved it: treat the bucket as tampered with' },
  'manifest-unreadable': {
    severity: 'wrong',
    hint: 'it was written by another version of strongroom, or by something else',
  },
  'manifest-missing': {
    severity: 'wrong',
    hint: 'copy signature and manifest back from another destination: strongroom job run replicate',
  },
  'manifests-differ': { severity: 'wrong', hint: 'both are signed: find out which run wrote the second one' },

  'copy-missing': {
    severity: 'wrong',
    hint: 'it was promised there and stored: find out who removed it, then strongroom job run replicate',
  },
  'data-missing': {
    severity: 'wrong',
    hint: 'nothing can be restored from there: find out who removed it, then strongroom job run replicate',
  },
  'data-length': { severity: 'wrong', hint: 'treat this copy as damaged or tampered with' },
  'data-rewritten': {
    severity: 'wrong',
    hint: 'strongroom snapshots verify, or audit --deep, reads it and tells whether the bytes are right',
  },
  'data-bad': { severity: 'wrong', hint: 'another destination may hold a good copy: strongroom job run replicate' },
  'keys-missing': {
    severity: 'wrong',
    hint: 'the wraps kept with the data, or a break-glass identity, still open it; copy keys.json back',
  },
  'keys-bad': {
    severity: 'wrong',
    hint: 'the wraps kept with the data, or a break-glass identity, still open it; copy keys.json back',
  },
  'keys-differ': { severity: 'wrong', hint: 'strongroom snapshots rewrap writes the same keys everywhere' },

  running: { severity: 'notice', hint: 'a backup may be running; look again when it is over' },
  orphan: { severity: 'wrong', hint: 'a run that never ended left it, or its manifest was taken away' },
  leftover: { severity: 'wrong', hint: 'the upload of that copy failed, and this was left of it' },
  uploading: { severity: 'notice', hint: 'a backup may be running; look again when it is over' },
  unfinished: { severity: 'wrong', hint: 'its parts cost money until somebody aborts it; the next backup does' },

  'taken-away': {
    severity: 'wrong',
    hint: 'somebody removed it from every destination: in a bucket with versions, bring it back',
  },
  'chain-broken': {
    severity: 'wrong',
    hint: 'the manifest that is there now is not the one that the next run found: somebody exchanged it',
  },

  'record-refused': {
    severity: 'wrong',
    hint: 'it counts for nothing; if the signer is yours, add its public key to signing.trusted',
  },
  'record-elsewhere': { severity: 'wrong', hint: 'it counts for nothing; somebody moved or copied it' },
  'record-unreadable': { severity: 'wrong', hint: 'it counts for nothing; something else wrote it' },
  'hold-missing': {
    severity: 'wrong',
    hint: 'should the other destinations be lost, the hold is not known there: strongroom snapshots hold again',
  },
  'hold-ineffective': {
    severity: 'wrong',
    hint: 'strongroom snapshots hold again sets the legal holds that are missing',
  },
  'hold-left': {
    severity: 'wrong',
    hint: 'strongroom snapshots release lifts what is left, unless somebody else needs it',
  },

  pointer: { severity: 'wrong', hint: 'it is a cache: delete it; the next backup writes it again' },
  foreign: { severity: 'wrong', hint: 'strongroom did not put it there' },
} as const satisfies Record<string, { severity: Severity; hint: string }>;

export type FindingKind = keyof typeof FINDINGS;

export type Finding = {
  kind: FindingKind;
  severity: Severity;
  /** null = it concerns no single one */
  destination: string | null;
  snapshot: SnapshotId | null;
  /** the object, where it is one */
  key: string | null;
  message: string;
};

/** Where findings go. */
export type Report = (
  kind: FindingKind,
  message: string,
  about?: { destination?: string; snapshot?: SnapshotId; key?: string },
) => void;

/** A report, and the list that it fills. */
export function collectFindings(): { findings: Finding[]; report: Report } {
  const findings: Finding[] = [];
  return {
    findings,
    report: (kind, message, { destination, snapshot, key } = {}) => {
      const { severity } = FINDINGS[kind];
      findings.push({
        kind,
        severity,
        destination: destination ?? null,
        snapshot: snapshot ?? null,
        key: key ?? null,
        message,
      });
    },
  };
}

/** What it means that a manifest was refused with `e`. */
export function kindOfRefusal(e: StrongroomError): FindingKind {
  if (e.code === 'E_SIGNATURE') return e.details['isChanged'] === true ? 'manifest-changed' : 'manifest-foreign';
  return e.details['isElsewhere'] === true ? 'manifest-elsewhere' : 'manifest-unreadable';
}

/** The same for a record. */
export function kindOfRecordRefusal(e: StrongroomError): FindingKind {
  if (e.code === 'E_SIGNATURE') return 'record-refused';
  return e.details['isElsewhere'] === true ? 'record-elsewhere' : 'record-unreadable';
}
