(made) => {
  // The browser saves what the server made; no file is written on the server.
  if (!made || !made.text) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([made.text], { type: made.media }));
  link.download = made.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
