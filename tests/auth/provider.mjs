// A provider of OpenID Connect for tests: oidc-provider, with people who sign in without a page.
// node provider.mjs FOLDER_OF_THE_PACKAGE PORT FOLDER: keys.json and people.json lie in FOLDER.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';

const [, , packageFolder, port, folder] = process.argv;
const { default: Provider } = await import(`${packageFolder}/lib/index.js`);
const read = (name) => JSON.parse(readFileSync(`${folder}/${name}`, 'utf8'));
const issuer = `http://127.0.0.1:${port}`;
let keysAsked = 0;

const provider = new Provider(issuer, {
  clients: ['trainwright', 'another'].map((id) => ({
    client_id: id,
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    redirect_uris: ['http://127.0.0.1/callback', 'http://127.0.0.1/v1/auth/callback'],
  })),
  jwks: read('keys.json'),
  cookies: { keys: ['for tests'] },
  pkce: { required: () => true },
  conformIdTokenClaims: false,
  claims: {
    openid: ['sub'],
    profile: ['name', 'preferred_username', 'groups'],
    email: ['email'],
  },
  features: { devInteractions: { enabled: false } },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...read('people.json')[id] }) }),
});

const callback = provider.callback();
createServer(async (request, response) => {
  if (request.url.startsWith('/interaction/')) {
    const { params } = await provider.interactionDetails(request, response);
    const accountId = params.login_hint;
    const grant = new provider.Grant({ accountId, clientId: params.client_id });
    grant.addOIDCScope('openid profile email');
    const consent = { grantId: await grant.save() };
    await provider.interactionFinished(request, response, { login: { accountId }, consent });
  } else if (request.url === '/keys-asked') {
    response.end(String(keysAsked));
  } else {
    if (request.url === '/jwks') keysAsked += 1;
    callback(request, response);
  }
}).listen(Number(port), '127.0.0.1');
