import { printable } from "../../core/shown.ts"
import { shownAddress } from "../../resilience/http-address.ts"
import type { PagePlace, Paginator } from "./paginate.ts"

const LONGEST_LABEL = 200

/**
 * The paginator with links that may be kept in positions and shown in dead letters: without user, password and the parameter that carries
 * the key, which is added to each request anyway.
 */
export function safeLinks(paginator: Paginator, secretParameter: string | undefined): Paginator {
  const safe = (place: PagePlace | undefined): PagePlace | undefined =>
    place === undefined ? undefined : withoutSecret(place, secretParameter)
  return {
    ...paginator,
    next: (page) => safe(paginator.next(page)),
    early: (page) => safe(paginator.early?.(page)),
    label(place) {
      const { url } = place
      const shown = typeof url === "string" ? shownAddress(new URL(url)) : paginator.label(place)
      return printable(shown).slice(0, LONGEST_LABEL)
    },
  }
}

function withoutSecret(place: PagePlace, parameter: string | undefined): PagePlace {
  if (typeof place["url"] !== "string") return place
  const url = new URL(place["url"])
  url.username = ""
  url.password = ""
  url.hash = ""
  if (parameter !== undefined) url.searchParams.delete(parameter)
  return { ...place, url: url.href }
}
