// Puts a live figure in the place of its still when the reader comes near. The only file here that
// is a script and no module: pages on disk may not load modules, so the build wraps those
// (bookext/live.py), and each tells `bookLive` what it needs.
{
  const here = document.currentScript;
  const arrived = {}; // name -> what to call with the module or the data
  const asked = {}; // name -> promise of the module or the data

  function ask(name, address) {
    asked[name] ??= new Promise((resolve, reject) => {
      arrived[name] = resolve;
      const script = document.createElement("script");
      script.src = address;
      script.onerror = () => reject(new Error(`${address} cannot be loaded`));
      document.head.append(script);
    });
    return asked[name];
  }

  const load = (name) => ask(name, new URL(`${name}.js?${here.dataset.version}`, here.src).href);
  const read = (address) => ask(address.split("/").pop().replace(".js", ""), address);

  window.bookLive = {
    define: async (name, needs, body) =>
      arrived[name](body(...(await Promise.all(needs.map(load))))),
    data: (name, value) => arrived[name](value),
  };

  async function begin(frame) {
    const { live, data, later } = frame.dataset;
    const [{ start }, values] = await Promise.all([load(live), data && read(data)]);
    const stage = document.createElement("div");
    stage.className = "live-stage";
    frame.append(stage);
    frame.classList.add("live-on");
    frame.removeAttribute("tabindex"); // which let the keyboard scroll the still
    try {
      start(stage, values, later && (() => read(later)));
    } catch (error) {
      frame.classList.remove("live-on"); // the still is better than half a figure
      stage.remove();
      throw error;
    }
  }

  const near = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (isIntersecting) {
          near.unobserve(target);
          begin(target);
        }
      }
    },
    { rootMargin: "60%" },
  );
  // The text comes first: nothing is asked for before the browser says that it is on the screen.
  addEventListener("load", () => {
    const painting = new PerformanceObserver((list, itself) => {
      if (!list.getEntriesByName("first-contentful-paint").length) return;
      itself.disconnect();
      for (const frame of document.querySelectorAll("[data-live]")) near.observe(frame);
    });
    painting.observe({ type: "paint", buffered: true });
  });
}
