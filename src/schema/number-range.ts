/** What numbers lie between; a limit that is not given limits nothing. */
export interface NumberRange {
  /** The smallest and the largest that are right. */
  readonly least?: number | undefined
  readonly most?: number | undefined
  /** Right numbers are larger, or smaller, than these. */
  readonly above?: number | undefined
  readonly below?: number | undefined
}

/** Whether a finite number lies in the range. */
export const within =
  ({ least = -Infinity, most = Infinity, above = -Infinity, below = Infinity }: NumberRange) =>
  (value: number): boolean =>
    value >= least && value <= most && value > above && value < below
