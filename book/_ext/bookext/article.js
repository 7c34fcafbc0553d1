// Run in a built page: returns its article as XHTML, fit for paper and e-readers.
// oneDocument: whether all pages become one, in which identifiers must be unique, or a file each;
// names: the book's pages; published: where the site is.
({ oneDocument, names, published }) => {
  const page = location.pathname.split("/").pop().replace(".html", "");
  const article = document.querySelector("article.bd-article").cloneNode(true);
  // Controls; the checks behind the numbers and folded code of figures, which the notebooks have.
  const dropped = ".headerlink, button, script, style, details.hide, .cell.tag_hide-cell";
  for (const element of article.querySelectorAll(dropped)) element.remove();
  for (const details of article.querySelectorAll("details")) details.open = true;
  // Folded solutions lie open: nothing unfolds on paper.
  for (const name of ["toggle", "toggle-hidden", "dropdown"]) {
    for (const element of article.querySelectorAll(`.${name}`)) element.classList.remove(name);
  }
  // Browsers take these; the standard of EPUB does not.
  for (const name of ["tabindex", "valign", "halign"]) {
    for (const element of article.querySelectorAll(`[${name}]`)) element.removeAttribute(name);
  }
  for (const element of article.querySelectorAll("math [displaystyle]:not(mstyle, mtable)")) {
    element.removeAttribute("displaystyle");
  }
  for (const element of article.querySelectorAll("path:not([d])")) element.remove();
  const anchor = (name, id) => (!oneDocument ? id : id ? `${name}--${id}` : name);
  if (oneDocument) {
    for (const element of article.querySelectorAll("[id]:not(svg [id])")) {
      element.id = anchor(page, element.id);
    }
    article.id = page;
    for (const element of article.querySelectorAll("[aria-labelledby], [aria-describedby]")) {
      element.removeAttribute("aria-labelledby");
      element.removeAttribute("aria-describedby");
    }
  }
  for (const link of article.querySelectorAll("a[href]")) {
    const url = new URL(link.getAttribute("href"), location.href);
    const target = url.pathname.split("/").pop().replace(".html", "");
    if (url.protocol !== location.protocol) continue;
    if (!names.includes(target)) {
      link.replaceWith(...link.childNodes); // for instance to the search
      continue;
    }
    const id = url.hash.slice(1);
    const file = !oneDocument && target !== page ? `${target}.xhtml` : "";
    const fragment = anchor(target, id);
    link.setAttribute("href", file + (fragment || !file ? `#${fragment}` : ""));
  }
  // A live figure is its still, with a line that says where it moves.
  for (const frame of article.querySelectorAll(".live")) {
    frame.querySelector(".live-stage")?.remove();
    frame.classList.remove("live-on");
    const place = `${published}book/${page}.html`;
    const link = document.createElement("a");
    link.href = place;
    link.textContent = place.replace("https://", "");
    const line = document.createElement("p");
    line.className = "live-where";
    line.append("This figure moves, under your hands, at ", link, ".");
    (frame.closest("figure") ?? frame).append(line);
  }
  const images = [];
  for (const image of article.querySelectorAll("img, image")) {
    const attribute = ["src", "href", "xlink:href"].find((name) => image.hasAttribute(name));
    const url = new URL(image.getAttribute(attribute), location.href);
    if (url.protocol !== location.protocol) continue;
    images.push(url.href);
    const name = url.pathname.split("/").pop();
    image.setAttribute(attribute, oneDocument ? url.href : `images/${name.replace(".webp", ".png")}`);
  }
  return {
    title: article.querySelector("h1").textContent,
    sections: [...article.querySelectorAll("h2")].map((heading) => ({
      title: heading.textContent,
      id: heading.closest("section").id,
    })),
    images,
    xhtml: new XMLSerializer().serializeToString(article),
  };
};
