// Starts `nervac lsp` for .nerva files; all that is known of the language is in that server.

const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

function activate() {
  const command = vscode.workspace.getConfiguration("nerva").get("command");
  client = new LanguageClient(
    "nerva",
    "Nerva",
    { command, args: ["lsp"] },
    { documentSelector: [{ language: "nerva" }] },
  );
  return client.start();
}

function deactivate() {
  return client?.stop();
}

module.exports = { activate, deactivate };
