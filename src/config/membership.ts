/** The part of the schema about when the members of a cluster may change. */
import { z } from 'zod';
import { rule, time } from './fields.ts';

/** A window that never ends declares nothing, in milliseconds. */
const LONGEST_MS = 7 * 86_400_000;

export const membershipWindow = z
  .strictObject({
    from: time().describe('when it begins, such as 2027-03-10T08:00:00Z'),
    to: time().describe('when it ends; 7 days after `from` at most'),
  })
  .check(
    rule(['from', 'to'], ({ from, to }, report) => {
      if (to <= from) report(['to'], 'not after from; write a later time');
      else if (to.getTime() - from.getTime() > LONGEST_MS) {
        report(['to'], 'more than 7 days after from; write a window for each change, or nothing is watched meanwhile');
      }
    }),
  );
