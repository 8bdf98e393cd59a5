import { describe, expect, it } from 'vitest';
import { isError } from '../../../src/core/errors.ts';
import { type Content, html, LocalUrl, url } from '../../../src/http/html.ts';

const BAD = `<b onclick='x'>"&\`</b>`;
const ESCAPED = '&lt;b onclick=&#39;x&#39;&gt;&quot;&amp;&#96;&lt;/b&gt;';

describe('html', () => {
  it('shows what is put in as text, in content and in attributes', () => {
    expect(html`<p title="${BAD}">${BAD}</p>`.toString()).toBe(`<p title="${ESCAPED}">${ESCAPED}</p>`);
  });

  it('puts markup of its own in as it is, and lists one behind the other', () => {
    const items = ['<', 'b'].map((text) => html`<li>${text}</li>`);
    expect(html`<ul>${items}${null}${false}${0}</ul>`.toString()).toBe('<ul><li>&lt;</li><li>b</li>0</ul>');
  });

  it('takes no object for markup that only looks like it', () => {
    const forged = { toString: () => '<script>' } as unknown as Content;
    expect(() => html`<p>${forged}</p>`).toThrow();
  });

  it('shows characters that turn or hide text as what they are not', () => {
    expect(html`${'a\u202Eb\u0000c'}`.toString()).toBe('a\ufffdb\ufffdc');
  });

  it.each<[string, (value: string) => unknown]>([
    ['a bare attribute', (value) => html`<p title=${value}>`],
    ['a single-quoted attribute', (value) => html`<p title='${value}'>`],
    ['an event handler', (value) => html`<p onclick="${value}">`],
    ['a style', (value) => html`<p style="color: ${value}">`],
    ['a script', (value) => html`<script>${value}</script>`],
    ['a style sheet', (value) => html`<style>${value}</style>`],
    ['a link of text', (value) => html`<a href="${value}">x</a>`],
    ['a form of text', (value) => html`<form method="post" action="${value}">`],
    ['a link that is text behind a path', (value) => html`<a class="x" href="/a/${value}">x</a>`],
  ])('refuses %s', (_what, make) => {
    expect(() => make('javascript:alert(1)')).toThrow(expect.toSatisfy((e) => isError(e, 'E_BUG')));
  });
});

describe('url', () => {
  it('makes one piece of each value', () => {
    expect(url`/clusters/${'a/../b?c#d"'}/x?y=${'&z'}`).toEqual(
      new LocalUrl('/clusters/a%2F..%2Fb%3Fc%23d%22/x?y=%26z'),
    );
    expect(html`<a href="${url`/a/${'b'}`}">x</a>`.toString()).toBe('<a href="/a/b">x</a>');
  });

  it.each(['.', '..'])('refuses the piece %s', (piece) => {
    expect(() => url`/clusters/${piece}/x`).toThrow('a page is not safe');
  });

  it('refuses what leads to another server', () => {
    expect(() => url`//evil/${'x'}`).toThrow('a page is not safe');
    expect(() => url`https://evil/${'x'}`).toThrow('a page is not safe');
  });
});
