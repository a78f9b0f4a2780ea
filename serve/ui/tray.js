// What is done to the tray, as events for the server: files sent under random names, pictures picked and removed.
// Given by the page: element, trigger, upload.
const randomName = (file) => {
  const ending = /\.[A-Za-z0-9]{1,5}$/.exec(file.name);
  return Math.random().toString(36).slice(2) + Date.now().toString(36) + (ending ? ending[0] : "");
};

async function sendOne(file, limit) {
  const sent = { name: file.name, bytes: file.size, path: null };
  if (file.size <= limit) {
    try {
      sent.path = (await upload(new File([file], randomName(file), { type: file.type }))).path;
    } catch (error) {
      console.warn("upload failed", error);
    }
  }
  return sent;
}

async function send(files) {
  const drop = element.querySelector(".iqa-drop");
  if (!files.length || !drop) return;
  drop.classList.add("iqa-sending");
  const limit = Number(drop.dataset.limit);
  const sent = [];
  for (const file of files) sent.push(await sendOne(file, limit));
  element.querySelector(".iqa-drop").classList.remove("iqa-sending");
  trigger("upload", { files: sent });
}

const take = (input) => {
  send(Array.from(input.files));
  input.value = "";
};
element.addEventListener("change", (event) => {
  if (event.target.type === "file") take(event.target);
});
take(element.querySelector("input[type=file]")); // what was chosen before this ran

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.pick) trigger("select", { number: Number(button.dataset.pick) });
  if (button.dataset.remove) trigger("delete", { number: Number(button.dataset.remove) });
  if (button.dataset.example) trigger("example", { key: button.dataset.example });
});

element.addEventListener("keydown", (event) => {
  if (event.target.classList.contains("iqa-drop") && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault();
    event.target.querySelector("input").click();
  }
});

// The whole page takes drops, so that a picture let go beside the tray does not replace the page.
const over = (on) => element.querySelector(".iqa-drop")?.classList.toggle("iqa-over", on);
const holdsFiles = (event) => Array.from(event.dataTransfer?.types ?? []).includes("Files");
document.addEventListener("dragover", (event) => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  over(true);
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) over(false);
});
document.addEventListener("drop", (event) => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  over(false);
  send(Array.from(event.dataTransfer.files));
});
document.addEventListener("paste", (event) => {
  const files = Array.from(event.clipboardData?.files ?? []);
  if (files.length) send(files);
});
