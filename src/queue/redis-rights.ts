/** Which of the commands that BullMQ needs a user may not run, asked of Redis without changing anything. */
import type { RedisClient } from './redis-client.ts';

type Command = {
  /** the ACL category that allows it */
  category: string;
  /** $key stands for a key of ours that is not there */
  words: readonly string[];
  /** would write: older servers, which answer only by doing, are not asked */
  isEffective?: true;
};

function commands(category: string, asked: string, effective = ''): Command[] {
  const parse = (text: string): string[][] => (text === '' ? [] : text.split(', ').map((words) => words.split(' ')));
  return [
    ...parse(asked).map((words) => ({ category, words })),
    ...parse(effective).map((words) => ({ category, words, isEffective: true as const })),
  ];
}

/** What BullMQ's scripts and its own calls use; those it can do without (CLIENT SETNAME, SCAN) are left out. */
const NEEDED: readonly Command[] = [
  ...commands('@keyspace', 'exists $key, del $key, unlink $key, pttl $key, persist $key', 'pexpire $key 1'),
  ...commands('@string', 'get $key', 'set $key 1, incr $key'),
  ...commands('@hash', 'hget $key a, hmget $key a, hgetall $key, hexists $key a, hdel $key a', 'hset $key a 1'),
  ...commands(
    '@list',
    'llen $key, lrange $key 0 1, lrem $key 0 a, lpos $key a, rpop $key',
    'lpush $key a, rpush $key a',
  ),
  ...commands('@set', 'scard $key, smembers $key, srem $key a', 'sadd $key a'),
  ...commands(
    '@sortedset',
    'zrem $key a, zscore $key a, zcard $key, zrange $key 0 1, zcount $key 0 1, zpopmin $key',
    'zadd $key 1 a',
  ),
  ...commands('@stream', 'xlen $key, xrange $key - +, xtrim $key MAXLEN 1', 'xadd $key * a 1'),
  ...commands('@blocking', '', 'bzpopmin $key 1'),
  ...commands('@transaction', '', 'multi, exec'),
  ...commands('@scripting', '', 'evalsha 0 1 $key, script load 0, script exists 0'),
  ...commands('@fast', 'time'),
];

/**
 * One answer for each: 0 = allowed or not known, 1 = refused. From Redis 7 on the server is asked for its opinion; before,
 * the command is run where it does nothing to a key that is not there. 6.2 names the refusal in a sentence of its own.
 */
const SCRIPT = `
local answers = {}
for i, words in ipairs(cjson.decode(ARGV[1])) do
  for j, word in ipairs(words) do if word == '$key' then words[j] = KEYS[1] end end
  answers[i] = 0
  if redis.acl_check_cmd then
    if not redis.acl_check_cmd(unpack(words)) then answers[i] = 1 end
  elseif string.sub(ARGV[2], i, i) == '0' then
    local said = redis.pcall(unpack(words))
    if type(said) == 'table' and said.err and string.find(said.err, 'user executing the script') then answers[i] = 1 end
  end
end
return answers`;

/** The refused commands by ACL category; empty when all may be run. Rejects with the error of Redis when EVAL is refused. */
export async function refusedCommands(client: RedisClient, prefix: string): Promise<Map<string, string[]>> {
  const words = JSON.stringify(NEEDED.map((command) => command.words));
  const effective = NEEDED.map((command) => (command.isEffective === true ? '1' : '0')).join('');
  const answers: unknown = await client.eval(SCRIPT, 1, `${prefix}:probe`, words, effective);
  const refused = new Map<string, string[]>();
  for (const [index, command] of NEEDED.entries()) {
    if (!Array.isArray(answers) || answers[index] !== 1) continue;
    const name = command.words[0] === 'script' ? `script ${command.words[1] ?? ''}` : (command.words[0] ?? '');
    refused.set(command.category, [...(refused.get(command.category) ?? []), name]);
  }
  return refused;
}
