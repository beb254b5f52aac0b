import { type Connection, backOff, isPassing, send } from "./connection";

/** One line of a log. */
export type LogLine = {
  id: string;
  time: string | null;
  stream: string;
  text: string;
  [more: string]: unknown;
};

type ServerEvent = { id: string; event: string; data: string };

/**
 * The lines of a log until it is complete, each once: a connection that breaks is taken up where it
 * broke (`Last-Event-ID`).
 *
 * @param path of the log, such as `/v1/workspaces/demo/runs/run_1/logs`
 * @param query which lines: `tail`, `since`, `grep`, `node`, `stream` …
 * @param attempts so often is a connection tried that brings nothing
 */
export async function* followLog(
  connection: Connection,
  path: string,
  query: Record<string, string> = {},
  attempts = 30,
): AsyncGenerator<LogLine> {
  const address = `${path}?${new URLSearchParams({ ...query, follow: "true" })}`;
  let last = "";
  for (let attempt = 0; attempt < attempts; attempt++) {
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (last) headers["Last-Event-ID"] = last;
      const answer = await send(connection, address, { headers });
      if (answer.status === 204) return; // there is nothing after the last line
      for await (const event of serverEvents(answer)) {
        if (event.event === "end") return;
        attempt = -1;
        last = event.id;
        yield JSON.parse(event.data);
      }
    } catch (error) {
      if (!isPassing(error) || attempt === attempts - 1) throw error;
    }
    await backOff(Math.max(0, attempt));
  }
  throw new Error(`the log at ${path} broke off`);
}

/** The events of an answer of `text/event-stream`, comments left out. */
async function* serverEvents(answer: Response): AsyncGenerator<ServerEvent> {
  if (answer.body === null) return;
  const decoder = new TextDecoder();
  const reader = answer.body.getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
      const blocks = text.split("\n\n");
      text = blocks.pop() ?? "";
      for (const block of blocks) {
        const event = parsed(block);
        if (event.data || event.event === "end") yield event;
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function parsed(block: string): ServerEvent {
  const event: ServerEvent = { id: "", event: "message", data: "" };
  for (const line of block.split("\n")) {
    const [name, ...rest] = line.split(":");
    const value = rest.join(":").replace(/^ /, "");
    if (name === "id" || name === "event" || name === "data") event[name] = value;
  }
  return event;
}
