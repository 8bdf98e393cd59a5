// Loaded before a measured program: at its end it writes what the process used to the file in BENCH_USAGE. Plain
// JavaScript: stripping types would cost the measured process 20 MB.
import { readFileSync, writeFileSync } from 'node:fs';

process.once('exit', () => {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  const usage = { cpuMs: (userCPUTime + systemCPUTime) / 1000, peakRssBytes: peakRss() ?? maxRSS * 1024 };
  writeFileSync(process.env.BENCH_USAGE, JSON.stringify(usage));
});

// ru_maxrss begins with that of the process which started us; VmHWM is ours alone. Null where there is no /proc.
function peakRss() {
  try {
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
  } catch {
    return null;
  }
}
