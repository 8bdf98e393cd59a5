/** What the quickstart prints. */
import { styleText } from 'node:util';

export const tell = {
  chapter(number: string, title: string): void {
    process.stdout.write(`\n${styleText('bold', number === '' ? title : `${number}. ${title}`)}\n`);
  },
  line(text: string): void {
    process.stdout.write(`   ${text}\n`);
  },
  block(text: string): void {
    for (const line of text.trimEnd().split('\n')) this.line(line);
  },
  command(args: readonly string[]): void {
    process.stdout.write(`   ${styleText('cyan', `$ strongroom ${args.join(' ')}`)}\n`);
  },
};
