/* Who comes from another site's link is signed in but seems not to be: a strict cookie does not travel with such a
   click. It does travel with a request of this page, so that tells, and the reader goes on to where the link led. */
"use strict";
(() => {
  const next = document.querySelector("input[name=next]").value;
  fetch("/session", { cache: "no-store" }).then((answer) => answer.json()).then((session) => {
    if (session.signed_in) { location.replace(next); }
  }, () => { /* the server is away: the form stays */ });
})();
