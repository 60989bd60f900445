// Swagger UI, which uses the token of a login for further requests, and keeps it for this tab.
"use strict";

const KEPT = "taskapi.token";
// The paths whose responses have a new token.
const ISSUING = ["/api/auth/login", "/api/auth/password"];

// Return the claims of a token, unverified. What is not a JWT has none.
function readClaims(token) {
  try {
    return JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
  } catch {
    return {};
  }
}

// Return the user's id in a token, or what stands for it: a provider's `sub` need not be a UUID.
function readUserId(token) {
  const { sub } = readClaims(token);
  return /^[0-9a-f-]{36}$/i.test(sub) ? sub : "me";
}

// Fill in `user_id` of every operation.
function fillIn(system, userId) {
  const { specActions, specSelectors } = system;
  const paths = specSelectors.specJson().get("paths");
  for (const [path, operations] of paths.filter((_, path) => path.includes("{user_id}"))) {
    for (const method of operations.keys()) {
      // One that was opened is known by a hash, too, under which Swagger UI keeps what was typed.
      const opened = specSelectors.specResolvedSubtree(["paths", path, method, "parameters"]);
      const parameter = opened?.find((each) => each.get("name") === "user_id");
      if (parameter) specActions.changeParamByIdentity([path, method], parameter, userId);
      specActions.changeParam([path, method], "user_id", "path", userId);
    }
  }
}

function useToken(system, token) {
  const schema = system.specSelectors.specJson().getIn(["components", "securitySchemes", "token"]);
  system.authActions.authorize({ token: { name: "token", value: token, schema } });
}

const keepToken = {
  statePlugins: {
    auth: {
      wrapActions: {
        authorize: (authorize, system) => (given) => {
          const token = given.token.value;
          sessionStorage.setItem(KEPT, token);
          fillIn(system, readUserId(token));
          return authorize(given);
        },
        logout: (logout, system) => (names) => {
          sessionStorage.removeItem(KEPT);
          fillIn(system, "");
          return logout(names);
        },
      },
    },
  },
};

const ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  plugins: [keepToken],
  onComplete: () => {
    const kept = sessionStorage.getItem(KEPT);
    if (kept && readClaims(kept).exp * 1000 > Date.now()) useToken(ui.getSystem(), kept);
    else sessionStorage.removeItem(KEPT);
  },
  responseInterceptor: (response) => {
    if (response.ok && ISSUING.includes(new URL(response.url).pathname)) {
      useToken(ui.getSystem(), JSON.parse(response.text).token);
    }
    return response;
  },
});
