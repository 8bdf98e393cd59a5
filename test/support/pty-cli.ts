/** The CLI in a pseudo-terminal: somebody reads its questions and types. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { baseEnv } from './process.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const RESULT = z.object({ code: z.number(), transcript: z.string() });

/** What is done when a text is on the screen: something is typed, or the program gets a signal from outside. */
export type Typed = { after: string } & ({ type: string } | { signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP' });

/** `pty.fork` gives the child a terminal of its own, echo and all. Types each answer once its question is on the screen. */
const TERMINAL = `
import json, os, pty, signal, sys
spec = json.load(sys.stdin)
pid, fd = pty.fork()
if pid == 0:
    os.execve(spec["argv"][0], spec["argv"], spec["env"])
screen, seen, answers = b"", 0, spec["answers"]
while True:
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    screen += data
    while answers:
        at = screen.find(answers[0]["after"].encode(), seen)
        if at < 0:
            break
        answer = answers.pop(0)
        seen = at + len(answer["after"].encode())
        if "signal" in answer:
            os.kill(pid, getattr(signal, answer["signal"]))
        else:
            os.write(fd, answer["type"].encode())
_, status = os.waitpid(pid, 0)
json.dump({"code": os.waitstatus_to_exitcode(status), "transcript": screen.decode("utf8", "replace")}, sys.stdout)
`;

/**
 * Runs it to its end and gives everything that was on the screen. An answer is typed as it stands: Enter is "\r".
 * A question that never comes leaves it waiting; the time-out of the test ends it.
 */
export async function runPty(
  args: readonly string[],
  options: { env: Record<string, string>; answers: readonly Typed[] },
): Promise<z.infer<typeof RESULT>> {
  const child = spawn('python3', ['-c', TERMINAL], { env: baseEnv(), stdio: ['pipe', 'pipe', 'inherit'] });
  const env = { ...baseEnv(), ...options.env, TERM: 'xterm' };
  child.stdin.end(JSON.stringify({ argv: [process.execPath, MAIN, ...args], env, answers: options.answers }));
  const [stdout] = await Promise.all([text(child.stdout), once(child, 'close')]);
  return RESULT.parse(JSON.parse(stdout));
}
