// Requests to the service: the token, waiting when it is busy, one sentence when it fails.

let token = "";

export function setToken(value) { token = value; }

export class Refusal extends Error {
  constructor(status, detail) { super(detail); this.status = status; }
}

const TRIES = 6;
const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

export async function ask(path, { body, method = body ? "POST" : "GET", onWait = () => {} } = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body) headers["Content-Type"] = "application/octet-stream";
  for (let attempt = 1; ; attempt += 1) {
    let response;
    try {
      response = await fetch(path, { method, headers, body, cache: "no-store" });
    } catch {
      throw new Refusal(0, "The service does not answer; is it still running?");
    }
    if (response.ok) return response.json();
    const detail = await response.json().then((page) => page.detail, () => response.statusText);
    const busy = response.status === 503 || response.status === 429;
    if (!busy || attempt === TRIES) throw new Refusal(response.status, detail);
    const seconds = Math.min(Number(response.headers.get("Retry-After")) || 1, 10);
    onWait(`The service is busy; trying again in ${seconds} s.`);
    await pause(seconds);
  }
}
