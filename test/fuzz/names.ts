/** What the documents of the fuzz targets are of. */
import { parseClusterName, type SnapshotId } from '../../src/core/ids.ts';

export const CLUSTER = parseClusterName('prod');
/** 2027-01-01, and what a listing shows before it */
export const NEWEST = '01MAF0A800NEWESTNEWESTNEWE' as SnapshotId;
export const OLDER = '01KAF0A800XDDERXDDERXDDERX' as SnapshotId;
