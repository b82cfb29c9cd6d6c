// `upstreams:`: where requests can go, and how.
#include "config/draft.hpp"
#include "config/keys.hpp"
#include "config/suggest.hpp"

#include <algorithm>
#include <array>

namespace gw::config {
namespace {

using known = std::span<const std::string_view>;
using names = std::vector<std::string_view>;

constexpr std::string_view router = "https://router.huggingface.co";

std::string in_ticks(std::string_view text)
{
    return '`' + std::string(text) + '`';
}

// One upstream, key by key; keys that do not belong to its kind are reported.
class upstream_reader
{
public:
    upstream_reader(const field& from, std::string name, const std::set<std::string>& tokens)
        : self_(from), map_(from, "a map with `kind` and the like", all_keys()), tokens_(tokens)
    {
        made_.value.name = std::move(name);
    }

    upstream_draft read()
    {
        if (!map_.is_map() || !kind()) {
            return std::move(made_);
        }
        engine();
        place();
        credentials();
        limits();
        models();
        worker();
        return std::move(made_);
    }

    static known all_keys()
    {
        static const names all = joined(
            {keys::any_upstream,
             keys::remote,
             keys::engine,
             keys::probe,
             keys::waking,
             keys::worker,
             keys::space}
        );
        return all;
    }

private:
    static names joined(std::initializer_list<known> lists)
    {
        names out;
        for (const auto& each : lists) {
            out.insert(out.end(), each.begin(), each.end());
        }
        return out;
    }

    // False: nothing more can be said about it.
    bool kind()
    {
        static constexpr auto kinds =
            std::to_array<std::string_view>({"serverless", "dedicated", "space", "local"});
        const auto at = map_.get("kind");
        if (!at) {
            self_.report("lacks `kind` (`serverless`, `dedicated` or `local`)");
            return false;
        }
        const auto said = at->choice("kind", kinds);
        if (!said) {
            return false;
        }
        made_.value.kind = static_cast<config::kind>(*said);

        // Which keys belong to it.
        names allowed;
        switch (made_.value.kind) {
        case kind::serverless:
            allowed = joined({keys::any_upstream, keys::remote});
            break;
        case kind::dedicated:
            allowed = joined({keys::any_upstream, keys::remote, keys::engine, keys::probe, keys::waking});
            break;
        case kind::space:
            allowed = joined({keys::any_upstream, keys::remote, keys::space});
            break;
        case kind::local:
            allowed = map_.has("command")
                          ? joined({keys::any_upstream, keys::engine, keys::worker})
                          : joined({keys::any_upstream, keys::remote, keys::engine, keys::probe});
            break;
        }
        const bool owned = made_.value.kind == kind::local && map_.has("command");
        for (const auto key : all_keys()) {
            if (!map_.has(key) || std::ranges::find(allowed, key) != allowed.end()) {
                continue;
            }
            const bool needs_command =
                made_.value.kind == kind::local && std::ranges::find(keys::worker, key) != keys::worker.end();
            map_.get(key)->report(
                needs_command ? "belongs to a `command`, and this upstream has none"
                : owned
                    ? "does not go with `command`: the gateway starts this upstream at an address of its own"
                    : "does not belong to kind " + in_ticks(kinds[*said])
            );
        }
        if (made_.value.kind == kind::space) {
            at->report("kind `space` is not supported by this build");
            return false;
        }
        return true;
    }

    void engine()
    {
        static constexpr auto engines =
            std::to_array<std::string_view>({"toolkit", "custom", "tgi", "tei", "openai"});
        if (const auto at = map_.get("engine")) {
            if (const auto said = at->choice("engine", engines)) {
                made_.value.engine = static_cast<config::engine>(*said);
            }
        }
        static constexpr auto forms = std::to_array<std::string_view>({"auto", "binary", "base64"});
        if (const auto at = map_.get("payload")) {
            made_.value.payload = static_cast<payload_form>(at->choice("payload form", forms).value_or(0));
        }
        if (const auto at = map_.get("path")) {
            made_.value.path = at->parse("a path such as `/predict`", &parse_route).value_or("");
        }

        const bool custom = made_.value.engine == engine::custom;
        if (const auto at = map_.get("request")) {
            if (!custom) {
                at->report("belongs to `engine: custom`");
            }
            made_.value.request = read_template(*at).value_or(std::vector<template_part>());
        } else if (custom) {
            self_.report("`engine: custom` needs `request`, as in `request: { image: $base64 }`");
        }
        if (const auto at = map_.get("answer")) {
            if (!custom) {
                at->report("belongs to `engine: custom`");
            }
            made_.value.answer =
                at->parse("a JSON Pointer such as `/predictions`", &parse_pointer).value_or("");
        }
    }

    // Where to connect, and how.
    void place()
    {
        auto& value = made_.value;
        if (const auto at = map_.get("url")) {
            if (auto read = at->parse("a URL such as `https://host`", &parse_url)) {
                value.at = std::move(*read);
                has_url_ = true;
            }
        } else if (value.kind == kind::serverless) {
            value.at = *parse_url(router);
            value.checks_private = true;
        } else if (value.kind == kind::dedicated) {
            self_.report(
                "kind `dedicated` needs `url`, as in `url: \"https://abc.endpoints.huggingface.cloud\"`"
            );
        } else if (!map_.has("command")) {
            self_.report("kind `local` needs `url`, or `command` for a process that the gateway starts");
        }
        // What OpenAI SDKs call the base URL ends in /v1, which the adapter adds itself.
        const bool speaks_openai =
            value.engine == engine::openai || value.engine == engine::tgi || value.engine == engine::tei;
        if ((speaks_openai || value.kind == kind::serverless) && value.at.base_path.ends_with("/v1")) {
            value.at.base_path.resize(value.at.base_path.size() - 3);
        }

        read_way_out(map_, value.ca_file, value.proxy);
        map_.flag("insecure_http", value.insecure_http);
        if (const auto at = map_.get("health")) {
            value.health = at->parse("a path such as `/health`", &parse_route).value_or(value.health);
        }
        if (value.kind == kind::dedicated) {
            value.wake_timeout = std::chrono::minutes(15);
            map_.duration("wake_timeout", value.wake_timeout, std::chrono::milliseconds(0));
        }
    }

    void credentials()
    {
        if (map_.has("token") && map_.has("tokens")) {
            map_.get("token")->report("either `token` or `tokens`, not both");
        } else if (const auto at = map_.get("token")) {
            token_name(*at);
        }
        if (const auto at = map_.get("tokens")) {
            for (const auto& each : at->texts("a list of tokens' names")) {
                token_name(each);
            }
            if (at->is(node::type::sequence) && at->at().items.empty()) {
                at->report("names no token; leave the key out if none is needed");
            }
        }
        const bool named = map_.has("token") || map_.has("tokens");

        // The router takes no request without a token; a mirror of the operator's own may add one itself.
        made_.value.needs_token = made_.value.kind == kind::serverless && !(has_url_ && !named);
        if (made_.value.kind == kind::serverless && !named && !map_.has("url")) {
            self_.report("kind `serverless` needs `token` or `tokens`");
        }
        if (has_url_ && named && !made_.value.at.tls && !made_.value.insecure_http &&
            !is_loopback(made_.value.at.host)) {
            map_.get("url")->report(
                "a token would travel to " + in_ticks(made_.value.at.host) +
                " in clear text; use `https://`, or say `insecure_http: true`"
            );
        }
    }

    void token_name(const field& from)
    {
        const auto said = from.text("a token's name");
        if (!said) {
            return;
        }
        if (!tokens_.contains(*said)) {
            const names all(tokens_.begin(), tokens_.end());
            from.report_value("no token of `tokens:`" + did_you_mean(*said, all));
        } else if (std::ranges::find(made_.tokens, *said) != made_.tokens.end()) {
            from.report_value("named here already");
        } else {
            made_.tokens.push_back(*said);
        }
    }

    void limits()
    {
        auto& value = made_.value;
        if (const auto at = map_.get("timeout")) {
            const fields times(*at, "a map with `connect`, `first_byte`, `idle`, `total`", keys::timeout);
            times.duration("connect", value.timeout.connect);
            times.duration("idle", value.timeout.idle);
            if (const auto first = times.get("first_byte")) {
                value.timeout.first_byte = first->duration();
                value.timeout.first_byte_stream =
                    value.timeout.first_byte.value_or(value.timeout.first_byte_stream);
            }
            if (const auto total = times.get("total")) {
                value.timeout.total = total->duration();
            }
        }
        map_.count("max_in_flight", value.max_in_flight, 1, 1'000'000);
        if (value.max_in_flight > 0) {
            value.max_waiting = 2 * value.max_in_flight;
        }
        map_.count("max_waiting", value.max_waiting, 0, 1'000'000);
    }

    // What it runs. Only `route: auto` asks: elsewhere a route says so.
    void models()
    {
        const auto list = map_.get("models");
        if (!list) {
            return;
        }
        for (const auto& each : list->texts("a list of models' names and patterns")) {
            const auto said = each.text("a model's name");
            if (said && !is_model_name(*said)) {
                each.report_value("not a model's name, and no pattern of one");
            } else if (said) {
                made_.value.models.push_back(*said);
            }
        }
        if (list->is(node::type::sequence) && list->at().items.empty()) {
            list->report("names no model; leave the key out if `route: auto` shall not choose this upstream");
        }
    }

    // A process of the gateway's own.
    void worker()
    {
        const auto command = map_.get("command");
        if (!command || made_.value.kind != kind::local) {
            return;
        }
        auto& run = made_.value.run.emplace();
        run.directory = self_.in().directory;

        bool port = false;
        for (const auto& each : command->texts("a list: the program and its arguments")) {
            const auto said = each.text("an argument");
            if (!said) {
                continue;
            }
            port = port || said->find("$port") != std::string::npos;
            check_placeholders(each, *said);
            const bool relative = said->starts_with("./") || said->starts_with("../");
            run.command.push_back(relative ? absolute(self_.in(), *said) : *said);
        }
        if (command->is(node::type::sequence)) {
            if (command->at().items.empty()) {
                command->report("names no program");
            } else if (!port) {
                command->report("must tell the worker its port: `--port, $port`");
            }
        }

        if (const auto at = map_.get("ready")) {
            run.ready = at->parse("a path such as `/health`", &parse_route).value_or(run.ready);
        }
        made_.value.health = run.ready;
        map_.duration("start_timeout", run.start_timeout);
        map_.duration("stop_timeout", run.stop_timeout, std::chrono::milliseconds(0));
        map_.duration("idle_stop", run.idle_stop, std::chrono::milliseconds(0));
        if (const auto at = map_.get("env")) {
            environment_of(*at, run);
        }
    }

    void environment_of(const field& from, config::worker& run)
    {
        for (const auto& [name, value] : from.members("a map of variables")) {
            const auto said = value.text("text");
            if (!said) {
                continue;
            }
            if (name.empty() || name.find('=') != std::string::npos || name.find('\0') != std::string::npos ||
                said->find('\0') != std::string::npos) {
                value.report("cannot be a variable");
            }
            if (*said == "$token" && made_.tokens.empty()) {
                value.report("`$token` stands for this upstream's token, and it names none; add `token: ...`"
                );
            }
            run.env[name] = *said;
        }
    }

    // Arguments hold `$model` and `$port`, anywhere inside. Others are mistakes: no shell expands them.
    void check_placeholders(const field& from, std::string_view text) const
    {
        static constexpr auto good = std::to_array<std::string_view>({"$model", "$port"});
        const auto letter = [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        };
        if (text.find('\0') != std::string_view::npos) {
            from.report("holds a NUL character");
        }
        for (std::size_t at = text.find('$'); at != std::string_view::npos; at = text.find('$', at + 1)) {
            std::size_t end = at + 1;
            while (end < text.size() && letter(text[end])) {
                ++end;
            }
            const auto name = text.substr(at, end - at);
            if (name == "$token") {
                from.report(
                    "a token on a command line is seen by every user; write `env: { HF_TOKEN: $token }`"
                );
            } else if (name.size() > 1 && std::ranges::find(good, name) == good.end()) {
                from.report(
                    in_ticks(name) + " is no placeholder" + did_you_mean(name, good) + " (`$model`, `$port`)"
                );
            }
        }
    }

    field self_;
    fields map_;
    const std::set<std::string>& tokens_;
    upstream_draft made_;
    bool has_url_ = false; // written, and well formed
};

} // namespace

void read_upstreams(const field& from, draft& into)
{
    const auto all = from.members("a map of upstreams");
    if (all.empty() && from.is(node::type::map)) {
        from.report("names no upstream, as in `router: { kind: serverless, token: acme }`");
    }
    std::set<std::string> tokens;
    for (const auto& each : into.tokens) {
        tokens.insert(each.name);
    }
    for (const auto& [name, value] : all) {
        if (!is_name(name)) {
            value.report(std::string(name_rule));
        }
        into.upstreams.push_back(upstream_reader(value, name, tokens).read());
    }
}

} // namespace gw::config
