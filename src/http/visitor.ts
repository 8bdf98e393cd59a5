/** Who asks for a page, and what they may do. */

export type Role = 'viewer' | 'operator';

export type Visitor = {
  /** as the journal names them; said by themselves with a token, by the proxy behind one */
  name: string;
  role: Role;
  /** `local` = everybody on this machine, where nobody is asked who they are */
  via: 'local' | 'token' | 'session' | 'proxy';
  /** what a form of theirs must carry */
  csrf: string;
};
