// Requests to the server. The token comes from the link, is kept in the browser's storage for this address and port, and
// disappears from the address bar.

const KEY = 'carpus-review-token';

function takeToken() {
  const address = new URL(location.href);
  const given = address.searchParams.get('token');
  if (given) {
    localStorage.setItem(KEY, given);
    address.searchParams.delete('token');
    history.replaceState(null, '', address.pathname + address.search + address.hash);
  }
  return localStorage.getItem(KEY) ?? '';
}

let token = takeToken();

/** An answer other than success; `status` is 0 if the server does not answer. */
export class ApiError extends Error {
  constructor(status, message, conflict = null) {
    super(message);
    this.status = status;
    this.conflict = conflict;
  }
}

async function request(path, options = {}) {
  // Another tab may have been opened with the link of a restarted server.
  token = localStorage.getItem(KEY) ?? token;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...options.headers, authorization: `Bearer ${token}` } });
  } catch {
    throw new ApiError(0, 'no answer');
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new ApiError(answer.status, body.error ?? `${answer.status} ${answer.statusText}`, body.conflict ?? null);
}

const address = (parts, parameters) => {
  const query = new URLSearchParams(Object.entries(parameters ?? {}).filter(([, value]) => value !== undefined));
  const path = '/api/' + parts.map(encodeURIComponent).join('/');
  return query.size ? `${path}?${query}` : path;
};

/** Reads JSON. */
export async function get(parts, parameters) {
  return (await request(address(parts, parameters))).json();
}

/** Reads a file, such as a picture. */
export async function getBlob(parts, parameters) {
  return (await request(address(parts, parameters))).blob();
}

/** Sends JSON and reads the answer, `null` without one. */
export async function send(parts, body, method = 'POST', keepalive = false) {
  const headers = { 'content-type': 'application/json' };
  const answer = await request(address(parts), { method, headers, body: JSON.stringify(body), keepalive });
  return answer.status === 204 ? null : answer.json();
}
