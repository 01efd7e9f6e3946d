"use strict";
// Shows openapi.json as a page.

const made = (tag, text = "") => Object.assign(document.createElement(tag), { textContent: text });

document.getElementById("example").textContent =
  `curl --data-binary @page.jpg '${location.origin}/v1/pages?name=page.jpg&format=alto'`;

fetch("/openapi.json").then((answer) => answer.json()).then(({ paths }) => {
  for (const [path, methods] of Object.entries(paths))
    for (const [method, route] of Object.entries(methods)) {
      const section = made("section"), table = made("table");
      for (const parameter of route.parameters ?? []) {
        const line = made("tr");
        line.append(made("td", parameter.name), made("td", parameter.in), made("td", parameter.description ?? ""));
        table.append(line);
      }
      section.append(made("h2", `${method.toUpperCase()} ${path}`), made("p", route.description ?? route.summary), table);
      document.getElementById("routes").append(section);
    }
});
