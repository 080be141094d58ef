// @ts-check
// Hands a question of the server to the browser's authenticator, and sends the answer with the form that has it.

/** @param {HTMLFormElement} form */
async function ask(form) {
  const { publicKey } = JSON.parse(form.dataset.options ?? "");
  const credential = form.dataset.passkey === "add"
    ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(publicKey) })
    : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(publicKey) });
  const field = form.elements.namedItem("credential");
  if (!credential || !(field instanceof HTMLInputElement)) return;
  field.value = JSON.stringify(credential);
  form.submit();
}

/** What a person can do about it; browsers say little, so that sites learn little. @param {unknown} problem */
function reason(problem) {
  const name = problem instanceof DOMException ? problem.name : "";
  if (name === "NotAllowedError") return "it was not confirmed, or the device has none for this site";
  if (name === "InvalidStateError") return "it has one of yours already";
  return problem instanceof Error ? problem.message : String(problem);
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const told = form.querySelector("[role=status]");
  const button = form.querySelector("button");
  if (!(form instanceof HTMLFormElement) || !told || !button) continue;
  const begin = async () => {
    told.textContent = "Your device asks for it now.";
    button.hidden = true;
    try {
      await ask(form);
    } catch (problem) {
      told.textContent = `Your device gave no passkey: ${reason(problem)}.`;
      button.hidden = false;
    }
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    begin();
  });
  if (typeof PublicKeyCredential === "undefined" || !PublicKeyCredential.parseRequestOptionsFromJSON) {
    told.textContent = "This browser is too old for passkeys, or this page was not reached over HTTPS.";
  } else {
    begin();
  }
}
