// The reader's own prediction, given before the result, and beside it afterwards. What was said
// stays in this browser's storage; nothing is sent anywhere.
import { button, element, row } from "./kit.js";

const KEY = "bnnbook-predictions";
const said = (() => {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {}; // storage may be switched off: then the page remembers until it is left
  }
})();
const boxes = [];

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(said));
  } catch {
    // as above
  }
  for (const refresh of boxes) refresh();
}

function forget() {
  for (const name of Object.keys(said)) delete said[name];
  keep();
}

// A number counts as right within a quarter of the claimed one, or within the claim's own range.
const near = (given, { value, low, high }) =>
  (low <= given && given <= high) || Math.abs(given - value) <= 0.25 * Math.abs(value);

const KINDS = {
  offer: {
    ask(form, { options }, answer) {
      for (const option of options) button(form, option, () => answer(option));
    },
    right: (given, { right }) => given === right,
  },
  number: {
    ask(form, { unit }, answer) {
      const input = element("input", { type: "number", step: "any", "aria-label": "Your number" });
      const give = () => input.value && answer(+input.value);
      input.addEventListener("keydown", (event) => event.key === "Enter" && give());
      form.append(element("label", {}, input, ` ${unit}`));
      button(form, "This is my guess", give);
    },
    right: near,
  },
  order: {
    ask(form, { options }, answer) {
      const list = element("ol", {});
      const move = (item, up) => {
        if (up) item.previousElementSibling?.before(item);
        else item.nextElementSibling?.after(item);
        item.querySelector(up ? "button" : "button:last-child").focus();
      };
      for (const option of options) {
        const item = element("li", {}, element("span", {}, option));
        for (const [sign, up] of [
          ["↑", true],
          ["↓", false],
        ]) {
          const hand = button(item, sign, () => move(item, up));
          hand.setAttribute("aria-label", `Move ${option} ${up ? "up" : "down"}`);
        }
        list.append(item);
      }
      form.append(list);
      const names = () => [...list.querySelectorAll("span")].map((name) => name.textContent);
      button(form, "This is my order", () => answer(names()));
    },
    // Those that share a rank may stand in any order.
    right(given, { ranks }) {
      const places = given.map((option) => ranks.findIndex((rank) => rank.includes(option)));
      return places.every((place, i) => i === 0 || places[i - 1] <= place);
    },
  },
};

export function start(stage) {
  const question = JSON.parse(stage.parentElement.dataset.asked);
  const { name, label, shown } = question;
  const { ask, right } = KINDS[question.kind];
  const form = row(stage);
  form.setAttribute("role", "group");
  form.setAttribute("aria-label", label || "Your prediction");
  if (label) form.append(element("span", {}, label));
  ask(form, question, (given) => {
    said[name] = { given: [given].flat().join(" – "), right: right(given, question) };
    keep();
    result.focus();
  });
  const result = element("p", { class: "live-result", tabindex: "-1" });
  const score = row(stage, "live-score");
  stage.append(result, score);

  function refresh() {
    const mine = said[name];
    form.hidden = Boolean(mine);
    result.hidden = score.hidden = !mine;
    if (!mine) return;
    const sign = mine.right ? "✓" : "✗";
    const verdict = element("b", {}, `${sign} ${shown}`);
    const about = label && `${label[0].toUpperCase()}${label.slice(1)}. `;
    result.replaceChildren(`${about}You said: ${mine.given}. The chapter finds: `, verdict);
    const all = Object.values(said);
    const good = all.filter((one) => one.right).length;
    score.replaceChildren(
      `Your predictions so far, in this browser only: ${good} of ${all.length} right. `,
    );
    button(score, "Forget them", forget);
  }
  boxes.push(refresh);
  refresh();
}
