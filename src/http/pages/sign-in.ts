/** The form that makes a session out of a token, and the page of an error. */
import type { StrongroomError } from '../../core/errors.ts';
import { html } from '../html.ts';
import { note, type Page } from '../layout.ts';

/** `problem` = why the last try was refused; null = there was none. */
export function signInPage(problem: string | null): Page {
  return {
    title: 'Sign in',
    body: html`${problem !== null && html`<p class="note critical" role="alert">${problem}</p>`}
<form method="post" action="/login" class="stack">
<label>Your name, for the journal <input name="name" autocomplete="username" required maxlength="128"></label>
<label>Token <input name="token" type="password" autocomplete="current-password" required maxlength="1024"></label>
<div><button>Sign in</button></div>
</form>
<p>The token is that of <code>serve.auth</code> in the config. It is not kept: the browser gets a session that ends by itself.</p>`,
  };
}

/** What a browser is shown in the place of a page. */
export function problemPage({ code, message, hint }: Pick<StrongroomError, 'code' | 'message' | 'hint'>): Page {
  return {
    title:
      code === 'E_NOT_FOUND'
        ? 'Not there'
        : code === 'E_DENIED' || code === 'E_FORBIDDEN'
          ? 'Not allowed'
          : 'That did not work',
    body: html`<p>${message}</p>${hint !== undefined && note(hint)}<p><code>${code}</code></p>`,
  };
}
