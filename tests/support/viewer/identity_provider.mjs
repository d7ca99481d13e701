// An OpenID Connect provider (npm's oidc-provider) whose accounts have roles. NODE_MODULES=DIR node identity_provider.mjs < ORDER
// ORDER: {accounts: {NAME: [ROLE, …]}, clients: [{client_id, client_secret, redirect_uris}]}. Prints its port, then serves.
// Its own pages ask for a name and any password, then for consent.
import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const order = JSON.parse(fs.readFileSync(0, "utf8"));
const require = createRequire(path.join(path.resolve(process.env.NODE_MODULES), "x.js"));
const { Provider } = await import(pathToFileURL(require.resolve("oidc-provider")).href);
const server = http.createServer();
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const { port } = server.address();
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: order.clients,
  claims: { openid: ["sub"], profile: ["preferred_username", "roles"] },
  conformIdTokenClaims: false,
  async findAccount(_, id) {
    return { accountId: id, claims: () => ({ sub: id, preferred_username: id, roles: order.accounts[id] ?? [] }) };
  },
});
server.on("request", provider.callback());
console.log(port);
