import { type Connection, backOff, isPassing, send } from "./connection";

const PIECE_BYTES = 8 * 1024 * 1024;

/**
 * Send bytes in pieces to a workspace; an upload that breaks goes on where it broke.
 *
 * @param attempts so often is a piece tried
 * @returns the SHA-256 that the server found: the name of the blob
 */
export async function uploadBlob(
  connection: Connection,
  workspace: string,
  bytes: Blob,
  attempts = 10,
): Promise<string> {
  const uploads = `/v1/workspaces/${encodeURIComponent(workspace)}/uploads`;
  const made = await send(connection, uploads, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ size_bytes: bytes.size }),
  });
  let upload: { id: string; offset_bytes: number; sha256: string | null; completed_at: unknown } =
    await made.json();
  const path = `${uploads}/${upload.id}`;
  for (let attempt = 0; upload.completed_at === null; attempt++) {
    try {
      if (attempt > 0) {
        // A part of the piece before may have arrived, or all of it.
        upload = await (await send(connection, path)).json();
        if (upload.completed_at !== null) break;
      }
      const start = upload.offset_bytes;
      const answer = await send(connection, path, {
        method: "PATCH",
        headers: {
          "Content-Type": "application/partial-upload",
          "Upload-Offset": String(start),
        },
        body: bytes.slice(start, start + PIECE_BYTES),
      });
      upload = await answer.json();
      attempt = -1;
    } catch (error) {
      if (!isPassing(error) || attempt >= attempts) throw error;
      await backOff(attempt);
    }
  }
  return upload.sha256 ?? "";
}
