// `spillway/sources`: what else records are read from. Of its own, so that a project of files does not load it.
export { parquet, type ParquetOptions } from "../formats/parquet.ts"
export { s3, type S3Options } from "./s3/s3.ts"
export type { ObjectStorage } from "./s3/object-storage.ts"
export { postgres, type PostgresSourceOptions } from "./sql/sql.ts"
export { env, type FromEnvironment, type Setting } from "../core/environment.ts"
export { rest, type RestOptions } from "./rest/rest.ts"
export { apiKey, basic, bearer, oauth2, type OAuth2Options, type RestAuth } from "./rest/auth.ts"
export {
  bodyCursor,
  headerCursor,
  linkHeader,
  nextLink,
  offsetLimit,
  pageNumber,
  singlePage,
  type Paginator,
  type PagePlace,
  type PageRequest,
  type ReadPage,
} from "./rest/paginate.ts"
export type { IncrementalOptions } from "./rest/incremental.ts"
