// A whole request, head and body, through everything that decides about it: door, dialect, policy, adapter.
// Nothing throws; a refusal is a client's status and words it can read; what would be sent begins with the
// configured prefix, can stand in a head, is JSON where it says so, and is as long as promised.
#include "adapters/adapter.hpp"
#include "config/load.hpp"
#include "dialects/dialect.hpp"
#include "policy/decide.hpp"

#include "executed.hpp"
#include "payload/media_type.hpp"
#include "property.hpp"
#include "scanned.hpp"
#include "wire/field.hpp"
#include "wire/request_head.hpp"
#include "wire/target.hpp"

#include <algorithm>
#include <memory>
#include <string>

using namespace gw;

namespace {

constexpr std::string_view yaml = R"(
tokens: { acme: { secret: "${T}", bill_to: acme } }
upstreams:
  router: { kind: serverless, url: "https://router.test/base", token: acme }
  kit: { kind: dedicated, url: "https://kit.test/base", token: acme }
  bytes: { kind: dedicated, url: "https://kit.test/base", token: acme, payload: binary }
  text: { kind: dedicated, url: "https://kit.test/base", token: acme, payload: base64 }
  own: { kind: dedicated, url: "https://own.test/base", engine: custom, request: { i: $data_url, p: $parameters } }
  plain: { kind: dedicated, url: "https://own.test/base", engine: custom, request: { p: $parameters, i: $inputs } }
  llm: { kind: dedicated, url: "https://llm.test/base", engine: openai }
  tei: { kind: dedicated, url: "https://tei.test/base", engine: tei }
  tgi: { kind: dedicated, url: "https://tgi.test/base", engine: tgi }
models:
  vit: { task: image-classification, route: [router, kit, bytes, text, own, plain] }
  asr: { task: automatic-speech-recognition, route: [router, kit, bytes, text, own] }
  vqa: { task: visual-question-answering, route: [router, kit, text, own] }
  draw: { task: text-to-image, route: [router, kit, plain] }
  chat: { task: chat-completion, route: [{ upstream: llm, model: served }, router, kit] }
  "*": { route: [router, kit, own, plain, llm, tei, tgi] }
)";

const config::settings& settings()
{
    static const auto made = config::load_text(yaml, "/policy.yaml", [](std::string_view) {
        return std::optional<std::string>{"hf_x"};
    });
    require(made.has_value(), "the policy of the test is good");
    return **made;
}

bool is_json(std::string_view text)
{
    wire::json_scanner scanner{{.long_string = 1 << 20}};
    return scanner.feed(text) && scanner.finish().has_value();
}

void check_refusal(const dialects::dialect& tongue, const failure& why)
{
    require(why.from == origin::client, "the client's fault");
    const int status = tongue.status_of(why);
    require(status >= 400 && status < 500, "a client's status");
    require(why.text.size() < 4000, "a short reason");
    require(is_json(tongue.error_body(why, "id\"")), "an error body is JSON");
    const std::string event = tongue.error_event(why, "id\n");
    require(event.ends_with("\n\n") && std::ranges::count(event, '\n') == 2, "an error event is one line");
}

void check_sent(const adapters::exchange_request& what, const request& asked, std::string_view body)
{
    const auto read = wire::parse_target(what.path);
    require(
        what.path.starts_with("/base/") || what.path == "/base" || what.path.starts_with("/base?"),
        "the prefix"
    );
    require(read.has_value(), "a path that is read as nothing else");
    require(what.method == "POST", "a POST");
    require(what.content_type.empty() || wire::valid_value(what.content_type), "a type fit for a head");
    require(what.accept.empty() || wire::valid_value(what.accept), "Accept too");
    require(what.fields.empty() || what.fields == "X-HF-Bill-To: acme\r\n", "further fields");
    const auto out = execute(what.body, body);
    if (out && what.content_type == "application/json") {
        require(is_json(*out), "JSON where it says so");
    }
    if (what.body.pass_through()) {
        require(!out || what.body.pieces[0].from.size() <= asked.body_size, "a part of what came");
    }
}

void check(
    const dialects::door_match& door,
    const wire::request_head& head,
    std::string_view query,
    const dialects::body_facts& facts,
    std::string_view body
)
{
    auto asked = door.tongue->parse(door, head, query, facts);
    if (!asked) {
        check_refusal(*door.tongue, asked.error());
        return;
    }
    if (door.at == door::health || door.at == door::openai_models) {
        return;
    }
    const auto inside = [&](byte_range range) {
        return range.begin <= range.end && range.end <= body.size();
    };
    require(asked->body_size == body.size() && asked->raw != facts.json, "the body");
    require(!asked->inputs || inside(*asked->inputs), "inputs inside it");
    require(!asked->model_at || inside(*asked->model_at), "the model too");
    require(!asked->binary || inside(asked->binary->where), "and the payload");
    require(asked->parameters.empty() || is_json(asked->parameters), "parameters are JSON");

    const auto plan = policy::decide(nullptr, *asked, settings(), body.size());
    if (!plan) {
        check_refusal(*door.tongue, plan.error());
        return;
    }
    if (plan->task != nullptr && plan->task != asked->task) {
        if (const auto settled = dialects::settle_task(*asked, plan->task, facts); !settled) {
            check_refusal(*door.tongue, settled.error());
            return;
        }
    }
    for (const policy::candidate& each : plan->candidates) {
        const adapters::target to{
            .to = each.to,
            .with = each.to->tokens.empty() ? nullptr : each.to->tokens.front(),
            .model = each.model,
            .provider = plan->provider,
            .task = plan->task,
        };
        const auto& adapter = adapters::adapter_for(*each.to);
        const auto encoding = adapter.plan(*asked, to);
        if (!encoding) {
            check_refusal(*door.tongue, encoding.error());
            continue;
        }
        auto action = adapter.open(*asked, to).value()->step(adapters::event::start{}, {}, {});
        const auto* sent = std::get_if<adapters::action::send>(&action);
        require(sent != nullptr, "it begins with a request");
        check_sent(sent->what, *asked, body);
        require(asked->raw || !adapter.can_stream(*asked, to), "only raw bodies stream");
    }
}

} // namespace

GW_FUZZ(input)
{
    wire::request_head head;
    const auto size = wire::scan_request_head(input, {}, head);
    if (!size || !*size) {
        return;
    }
    const auto target = wire::parse_target(head.target);
    if (!target) {
        return;
    }
    const auto door = dialects::find_door(target->path, head.verb);
    if (!door) {
        check_refusal(dialects::fallback_dialect(), door.error());
        return;
    }
    const std::string_view body = input.substr(**size);
    const bool json = payloads::is_json(head.content_type) ||
                      (head.content_type.empty() && payloads::looks_like_json(body));
    for (const held how : {held::whole, held::in_parts}) {
        const auto document = json ? scan(body, how == held::whole ? 1 << 20 : 24, how) : std::nullopt;
        if (document) {
            check(*door, head, target->query, facts_of(*document, how), body);
        } else if (!payloads::is_json(head.content_type)) {
            const dialects::body_facts raw{.first_bytes = body.substr(0, 64), .size = body.size()};
            check(*door, head, target->query, raw, body);
        }
    }
}
