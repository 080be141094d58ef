// @ts-check
// What scripts add to pages that work without them: local times, copying, confirmations, lists that grow.

/** Shows times in the reader's zone; UTC stays in the title. @param {ParentNode} part */
function showTimes(part) {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  for (const time of part.querySelectorAll("time[datetime]")) {
    const at = new Date(time.getAttribute("datetime") ?? "");
    if (!Number.isNaN(at.getTime())) time.textContent = format.format(at);
  }
}

/** Offers copying where the browser can. @param {ParentNode} part */
function offerCopies(part) {
  if (!navigator.clipboard) return;
  for (const button of part.querySelectorAll("button[data-copy]")) button.removeAttribute("hidden");
}

document.addEventListener("click", async (event) => {
  const button = event.target instanceof Element ? event.target.closest("button[data-copy]") : null;
  if (!button) return;
  await navigator.clipboard.writeText(button.getAttribute("data-copy") ?? "");
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
});

/** Shows what a form asks before it does lasting harm as a dialogue; without scripts it is a page. */
document.addEventListener("submit", async (event) => {
  const button = event instanceof SubmitEvent ? event.submitter : null;
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || !button?.hasAttribute("data-asks")) return;
  event.preventDefault();
  const fields = [...new FormData(form)].map(([name, value]) => [name, String(value)]);
  const answer = await fetch(form.action, {
    method: "POST", headers: { "X-Part": "live" }, body: new URLSearchParams(fields),
  }).catch(() => null);
  if (!answer?.ok || answer.redirected) return form.submit(); // the page says why
  if (document.querySelector("dialog")) return;
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-label", button.textContent ?? "");
  dialog.innerHTML = await answer.text();
  const typed = dialog.querySelector("input[name=confirm]:not([type=hidden])");
  const yes = dialog.querySelector("button");
  if (typed instanceof HTMLInputElement && yes) {
    yes.disabled = true;
    typed.addEventListener("input", () => { yes.disabled = typed.value.trim() !== typed.form?.dataset.name; });
  }
  dialog.querySelector("a")?.addEventListener("click", (click) => {
    click.preventDefault();
    dialog.close();
  });
  dialog.addEventListener("close", () => { dialog.remove(); button.focus(); });
  document.body.append(dialog);
  dialog.showModal();
});

/** Says what a button that was pressed is doing, until the answer replaces the page. */
document.addEventListener("submit", (event) => {
  const button = event instanceof SubmitEvent ? event.submitter : null;
  const busy = button?.getAttribute("data-busy");
  if (!(button instanceof HTMLButtonElement) || !busy) return;
  button.textContent = busy;
  setTimeout(() => { button.disabled = true; });
});

/** Follows a list that the server says has changed. @param {Element} list */
function follow(list) {
  const source = new EventSource(list.getAttribute("data-live") ?? "");
  source.addEventListener("changed", async () => {
    const answer = await fetch(location.href, { headers: { "X-Part": "live" } });
    if (!answer.ok) return;
    const known = new Set([...list.querySelectorAll("a[href]")].map((a) => a.getAttribute("href")));
    list.innerHTML = await answer.text();
    for (const row of list.querySelectorAll("tbody tr")) {
      if (![...row.querySelectorAll("a[href]")].every((a) => known.has(a.getAttribute("href")))) row.classList.add("new");
    }
    improve(list);
  });
  addEventListener("pagehide", () => source.close());
}

/** A link's token stands behind the #, which reaches no server and no log. */
function takeToken() {
  const field = document.querySelector("input[name=ticket]");
  const token = /^#[a-z_]+=(.+)$/.exec(location.hash)?.[1];
  if (field instanceof HTMLInputElement && token) {
    field.value = decodeURIComponent(token);
    history.replaceState(null, "", location.pathname);
  }
}

/** A demo account's key is known to everybody. */
function offerDemoKeys() {
  const account = document.querySelector("select#field-account");
  const key = document.querySelector("input[name=key]");
  if (!(account instanceof HTMLSelectElement) || !(key instanceof HTMLInputElement)) return;
  account.addEventListener("change", () => { key.value = account.selectedOptions[0]?.dataset.key ?? ""; });
}

/** @param {ParentNode} part */
function improve(part) {
  showTimes(part);
  offerCopies(part);
}

improve(document);
takeToken();
addEventListener("hashchange", takeToken); // the link was opened in a tab that shows this page already
offerDemoKeys();
for (const list of document.querySelectorAll("[data-live]")) follow(list);
