// The values of an enum have names that say what they do.
import { PathsApiUser_idTasksGetParametersQuerySort as Sort } from "./generated/named.js";

console.log(JSON.stringify([Sort.NEWEST_FIRST, Sort.OLDEST_FIRST]));
