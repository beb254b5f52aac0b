/** Where the API is and who asks. */
export type Connection = {
  /** Address without a slash at its end, such as `https://trainwright.example.org`. */
  address: string;
  token: string;
};

/** The server refused: what it answered, as RFC 9457 has it. */
export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }
}

/** Send one request; refused with an {@link ApiProblem} when the answer is an error. */
export async function send(
  connection: Connection,
  path: string,
  init: RequestInit = {},
): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set("Authorization", `Bearer ${connection.token}`);
  const answer = await fetch(connection.address + path, { ...init, headers });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new ApiProblem(answer.status, problem.code ?? "", problem.detail ?? answer.statusText);
}

/**
 * Whether asking again may help: the network, a server that restarts, a limit of requests, a piece
 * that another request still brings.
 */
export function isPassing(error: unknown): boolean {
  if (error instanceof ApiProblem && error.code === "upload_busy") return true;
  if (error instanceof ApiProblem) return [408, 429, 500, 502, 503, 504].includes(error.status);
  return error instanceof TypeError; // what fetch says when a connection breaks
}

/** Wait before attempt number `attempt` (from 0): twice as long each time, at most 10 s. */
export function backOff(attempt: number): Promise<void> {
  return new Promise((done) => setTimeout(done, Math.min(10_000, 250 * 2 ** attempt)));
}
