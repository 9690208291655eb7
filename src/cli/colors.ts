import picocolors from "picocolors"

export type Colors = ReturnType<typeof picocolors.createColors>

/** Colours for a terminal; none for a pipe, a dumb terminal or where `NO_COLOR` is set. `FORCE_COLOR` asks for them. */
export function colorsFor(
  stream: { readonly isTTY?: boolean | undefined },
  env: Readonly<Record<string, string | undefined>>,
): Colors {
  return picocolors.createColors(wantsColor(stream.isTTY === true, env))
}

function wantsColor(terminal: boolean, env: Readonly<Record<string, string | undefined>>): boolean {
  if (env["NO_COLOR"]) return false
  if (env["FORCE_COLOR"]) return env["FORCE_COLOR"] !== "0"
  return terminal && env["TERM"] !== "dumb"
}
