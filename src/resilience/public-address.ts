import { lookup as systemLookup, type LookupAddress, type LookupOptions } from "node:dns"
import { BlockList, isIP, type LookupFunction } from "node:net"
import { SpillwayError } from "../core/errors.ts"

/** Not reachable over the internet, by the IANA registries of special-purpose addresses: private, loopback, link-local (cloud metadata), shared, reserved … */
const SPECIAL_IPV4 = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
  // Metadata and platform services of clouds that lie in public ranges.
  "168.63.129.16/32",
] as const

/** Only 2000::/3 is given out; of that, these lead elsewhere: tunnels and translations (which hide an IPv4 address), documentation, benchmarks. */
const SPECIAL_IPV6 = ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"] as const

const special = new BlockList()
for (const range of SPECIAL_IPV4) special.addSubnet(network(range), prefix(range), "ipv4")
for (const range of SPECIAL_IPV6) special.addSubnet(network(range), prefix(range), "ipv6")
const global6 = new BlockList()
global6.addSubnet("2000::", 3, "ipv6")

function network(range: string): string {
  return range.slice(0, range.indexOf("/"))
}

function prefix(range: string): number {
  return Number(range.slice(range.indexOf("/") + 1))
}

/** Whether an IP address (not a name) belongs to the public internet. */
export function isPublicAddress(address: string): boolean {
  const bare = address.replace(/^\[|\]$/g, "").replace(/%.*$/, "")
  switch (isIP(bare)) {
    case 4:
      return !special.check(bare, "ipv4")
    case 6: {
      const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1]
      if (mapped !== undefined) return isPublicAddress(mapped)
      return global6.check(bare, "ipv6") && !special.check(bare, "ipv6")
    }
    default:
      return false
  }
}

/** An address that is not public was about to be connected to. */
export function notPublic(host: string, address: string): SpillwayError {
  const what = host === address ? address : `${host} is ${address}, which`
  return new SpillwayError("CONFIG", `${what} is not a public address, and only those are allowed here`, {
    where: host,
    hint: "allow private addresses if this one is meant, or have a look at where the address came from",
  })
}

/** Resolves names as `resolve` does, and refuses a name that has any address that is not public: the connection uses what was checked, nothing is looked up again. */
export function publicLookup(resolve: LookupFunction = systemLookup): LookupFunction {
  return (host, options: LookupOptions, callback) => {
    resolve(host, options, (error, found: string | LookupAddress[], family) => {
      const addresses = typeof found === "string" ? [found] : (found ?? []).map(({ address }) => address)
      const refused = error ? undefined : addresses.find((address) => !isPublicAddress(address))
      if (refused === undefined) callback(error, found, family)
      else callback(notPublic(host, refused), [])
    })
  }
}
