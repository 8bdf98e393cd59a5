import type { Area } from '../../doctor/finding.ts';
import { type CommonFlags, commonAliases, commonFlags, type Definition, text } from '../define.ts';

export type DoctorFlags = CommonFlags & { cluster?: string; only?: Area };

export const doctor: Definition<DoctorFlags, []> = {
  brief: 'Find by day what would fail at night',
  description:
    'Tries what a backup needs, each thing by itself: config, nodes, login and its rights, every KMS key with a real wrap, ' +
    'every destination with objects that it removes again, the queue. Each finding comes with its fix. It takes no ' +
    'snapshot, sends no notification, and changes nothing that lasts. Exit code 0 when there is no problem; warnings, ' +
    'and what could not be looked at, are told and do not count.',
  parameters: {
    flags: {
      ...commonFlags,
      cluster: {
        kind: 'parsed',
        parse: text,
        optional: true,
        placeholder: 'name',
        brief: 'Only this cluster; default: all of them',
      },
      only: {
        kind: 'enum',
        values: ['config', 'vault', 'kms', 'destinations', 'encryption', 'queue', 'notifications'],
        optional: true,
        brief: 'Only this area',
      },
    },
    aliases: commonAliases,
  },
};
