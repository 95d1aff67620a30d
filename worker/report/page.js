for (const pre of document.querySelectorAll("pre")) {
  const button = document.createElement("button");
  const text = pre.textContent;
  button.textContent = "Copy";
  button.addEventListener("click", () => {
    navigator.clipboard.writeText(text).then(() => { button.textContent = "Copied"; }, () => {});
  });
  pre.previousElementSibling.append(button);
}
