/** Which spans are worth being sent. */
import { type Context, SpanKind } from '@opentelemetry/api';
import { AlwaysOnSampler, ParentBasedSampler, type Sampler, SamplingDecision } from '@opentelemetry/sdk-trace';

/** What a worker does every few seconds, run or no run: a day of it is ten thousand traces of nothing. */
const HOUSEKEEPING = /^(?:getNextJob|extendLocks|moveStalledJobsToWait|startStalledCheckTimer|close|pause|resume) /;

const byParent = new ParentBasedSampler({ root: new AlwaysOnSampler() });

/** Everything of a run; nothing of what BullMQ does for itself. What a caller from elsewhere left out is left out here, too. */
export const worthSampling: Sampler = {
  shouldSample(parent: Context, traceId, name, kind, attributes, links) {
    if (kind === SpanKind.INTERNAL && HOUSEKEEPING.test(name)) return { decision: SamplingDecision.NOT_RECORD };
    return byParent.shouldSample(parent, traceId, name, kind, attributes, links);
  },
  toString: () => 'WorthSampling',
};
