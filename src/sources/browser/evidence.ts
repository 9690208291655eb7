import { join } from "node:path"
import type { Page } from "playwright-core"
import type { SourceContext } from "../../core/contracts.ts"
import { EVIDENCE_FOLDER } from "../../core/evidence-folder.ts"

/** What a page shows, as a picture and HTML below the project folder; named before it is known whether anybody wants them. */
export class Evidence {
  readonly files: readonly [string, string]
  /** A dead letter names the files. */
  wanted = false
  readonly #page: Page
  readonly #context: SourceContext

  constructor(page: Page, name: string, context: SourceContext) {
    this.#page = page
    this.#context = context
    this.files = [join(EVIDENCE_FOLDER, `${name}.png`), join(EVIDENCE_FOLDER, `${name}.html`)]
  }

  /** Writes the files, where they are wanted, of what the page shows now. */
  async save(): Promise<void> {
    if (!this.wanted || this.#page.isClosed()) return
    const { ports, directory } = this.#context
    const [picture, html] = this.files.map((name) => join(directory, name)) as [string, string]
    await ports.files.makeDirectory(join(directory, EVIDENCE_FOLDER))
    await ports.files.writeAtomic(html, await this.#page.content())
    await ports.files.writeAtomic(picture, await this.#page.screenshot({ fullPage: true }))
  }
}
