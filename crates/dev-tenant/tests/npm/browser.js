// A browser without scripts: cookies, redirects by hand, one form.

export class Browser {
  #cookies = new Map();

  async request(url, init = {}) {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, {
      ...init,
      redirect: 'manual',
      headers: { ...init.headers, cookie },
    });
    for (const line of response.headers.getSetCookie()) {
      const [name, value] = line.split(';')[0].split('=');
      if (value) this.#cookies.set(name, value);
      else this.#cookies.delete(name);
    }
    return response;
  }

  /** Where a request leads: the target of its redirect. */
  async target(url, init) {
    const response = await this.request(url, init);
    if (response.status !== 302) {
      throw new Error(`${response.status} instead of a redirect: ${await response.text()}`);
    }
    return new URL(response.headers.get('location'), url);
  }

  /** Goes to the login page, fills it in, and returns the URL of the callback. */
  async signIn(authorizationUrl, username, password) {
    const page = await this.target(authorizationUrl);
    const html = await (await this.request(page)).text();
    const state = html.match(/name="state" value="([^"]+)"/)[1];
    const action = html.match(/<form method="post" action="([^"]+)"/)[1];
    return this.target(new URL(action, page), {
      method: 'POST',
      body: new URLSearchParams({ state, username, password }),
    });
  }
}
