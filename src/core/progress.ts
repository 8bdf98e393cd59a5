/** What a long run tells whoever watches: a terminal draws it, a log writes it, a test reads it. */

export type ProgressEvent = {
  /** where the run is, such as `preflight`, `snapshot`, `upload primary` */
  stage: string;
  /** bytes done so far in this stage */
  bytes?: number;
  /** bytes in all, where known */
  totalBytes?: number;
  /** one line for people */
  message?: string;
};

export type OnProgress = (event: ProgressEvent) => void;

/** For callers that do not watch. */
export const unwatched: OnProgress = () => undefined;
