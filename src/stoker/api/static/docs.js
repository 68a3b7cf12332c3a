// Swagger UI over our own OpenAPI document. In a file of its own: the page's security policy allows no inline script.
window.addEventListener("load", () => {
  SwaggerUIBundle({
    url: document.body.dataset.openapi,
    dom_id: "#page",
    deepLinking: true,
    validatorUrl: null,
    persistAuthorization: false,
    tryItOutEnabled: false,
    docExpansion: "none",
  });
});
