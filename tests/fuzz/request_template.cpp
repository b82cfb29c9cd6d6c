// Whatever stands under `request:` of a custom upstream, if the policy is taken then every body made of it is
// JSON, as long as was promised, and holds the payload.
#include "adapters/adapter.hpp"
#include "config/load.hpp"

#include "executed.hpp"
#include "payload/base64.hpp"
#include "property.hpp"
#include "scanned.hpp"

#include <optional>
#include <string>

using namespace gw;

namespace {

std::string policy_with(std::string_view request)
{
    std::string yaml = "models: { \"*\": { route: [own] } }\nupstreams:\n  own:\n    kind: dedicated\n"
                       "    url: \"http://127.0.0.1:9/a\"\n    engine: custom\n    request: ";
    return yaml.append(request).append("\n");
}

void check_body(
    const config::upstream& own, const request& asked, std::string_view body, std::string_view payload
)
{
    const adapters::target to{.to = &own, .model = "a/\"b"};
    const auto& adapter = adapters::adapter_for(own);
    if (!adapter.plan(asked, to)) {
        return; // the payload has no place in it
    }
    auto action = adapter.open(asked, to).value()->step(adapters::event::start{}, {}, {});
    const auto* sent = std::get_if<adapters::action::send>(&action);
    require(sent != nullptr, "it begins with a request");
    const auto out = execute(sent->what.body, body);
    require(out.has_value(), "the body can be made");
    require(scan(*out, 1 << 20).has_value(), "the body is JSON");
    require(out->contains(payload), "the payload is in it");
}

} // namespace

GW_FUZZ(input)
{
    const auto made = config::load_text(policy_with(input), "/policy.yaml", [](std::string_view) {
        return std::optional<std::string>{"v\"\n"};
    });
    if (!made) {
        require(!made.error().empty(), "a refusal has a reason");
        return;
    }
    const config::upstream* own = (*made)->find_upstream("own");
    if (own == nullptr || own->engine != config::engine::custom) {
        return; // the input ended the upstream and began something else
    }

    const std::string bytes = "\x89PNG\r\n\x1a\n\"\\";
    request raw{.raw = true, .body_size = bytes.size(), .parameters = R"({"k":"\""})"};
    raw.binary = payload{.where = {0, bytes.size()}, .size = bytes.size(), .media_type = "image/png"};
    check_body(*own, raw, bytes, payloads::encode_base64(bytes));

    const std::string_view text = R"({"inputs":"a \" b","parameters":{"x":[1]}})";
    const auto body = scan(text, 1 << 20);
    request json{.body_size = text.size(), .members = body->members, .inputs = body->index.members[0].where};
    json.parameters = R"({"x":[1]})";
    check_body(*own, json, text, R"("a \" b")");
}
