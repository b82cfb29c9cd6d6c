// The settings a running gateway uses: immutable, everything resolved. load.hpp makes them from a policy
// file. A request takes one snapshot (shared_ptr<const settings>) at its start and uses it to the end.
// Pointers between the parts stay valid as long as the settings live: upstreams, tokens and entries are never
// moved after build().
#pragma once

#include "config/secret.hpp"
#include "message/outcome.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace gw {
struct task_info;
}

namespace gw::config {

enum class kind : std::uint8_t { serverless, dedicated, space, local };
enum class engine : std::uint8_t { toolkit, custom, tgi, tei, openai };
enum class payload_form : std::uint8_t { automatic, binary, base64 };

[[nodiscard]] std::string_view to_string(kind value);
[[nodiscard]] std::string_view to_string(engine value);
[[nodiscard]] std::string_view to_string(payload_form value);

// Where to connect. `origin` is `scheme://host:port`, what a token is bound to.
struct url
{
    bool tls = true;
    std::string host; // without brackets
    std::uint16_t port = 443;
    std::string base_path; // "" or "/prefix", never a slash at its end
    std::string origin;
    std::string host_header; // host[:port] as it goes into `Host:`
};

// HOST:PORT of a listener. Port 0 picks a free one.
struct address
{
    std::string host;
    std::uint16_t port = 0;
    friend bool operator==(const address&, const address&) = default;
};

struct listener
{
    address at;
    std::string certificate; // both empty: clear text
    std::string key;
};

struct token
{
    std::string name;
    secret value;        // empty: its upstreams are off with the reason no_token
    std::string bill_to; // X-HF-Bill-To; empty: none
    std::string file;    // set for `file:` secrets: read again when it changes
    std::uint64_t hash =
        0; // of the secret: what a token learned is keyed by it, so a rotated one starts clean
};

// `timeout:` of an upstream. What runs out is the outcome `timeout`, except that the request's deadline is
// ours.
struct timeouts
{
    std::chrono::milliseconds connect{5'000}; // resolving, TCP and TLS together
    std::optional<std::chrono::milliseconds>
        first_byte; // none of its own for plain answers; 60 s for streams
    std::chrono::milliseconds first_byte_stream{60'000}; // `first_byte` if given
    std::chrono::milliseconds idle{60'000};              // silence inside an answer
    std::optional<std::chrono::milliseconds> total;      // off
};

// `request:` of the engine `custom`: a JSON text cut at its placeholders.
struct template_part
{
    enum class what : std::uint8_t { literal, inputs, base64, data_url, parameters, model };
    what is = what::literal;
    std::string
        text; // literal only: JSON text. The placeholders' quotes are not part of the literals around them
};

// `command:` of a local upstream.
struct worker
{
    std::vector<std::string>
        command; // $model and $port stand in it; paths already resolved against the policy file
    std::string ready = "/health";
    std::chrono::milliseconds start_timeout{120'000};
    std::chrono::milliseconds idle_stop{0};         // 0: never
    std::chrono::milliseconds stop_timeout{10'000}; // SIGTERM, then SIGKILL
    std::map<std::string, std::string> env;         // `$token` stands for the upstream's token
    std::string directory;                          // working directory: that of the policy file
};

struct upstream
{
    std::string name;
    config::kind kind = kind::serverless;
    config::engine engine = engine::toolkit;
    payload_form payload = payload_form::automatic;
    url at;                           // workers: unused (loopback, a port of their own)
    std::vector<const token*> tokens; // empty: none needed
    bool needs_token = false;         // serverless: without a token it is off
    bool insecure_http = false;
    bool checks_private = false; // a built-in default host: must not resolve to private addresses
    std::string ca_file;
    std::string proxy; // HTTP CONNECT proxy; empty: none
    config::timeouts timeout;
    std::size_t max_in_flight = 0;      // 0: no limit
    std::size_t max_waiting = 256;      // per upstream and model
    std::vector<template_part> request; // custom
    std::string answer;                 // custom: JSON Pointer to the task's output; "" = the whole answer
    std::string path;                   // overrides the engine's route when set
    std::optional<config::worker> run;  // local with a command
    std::string health = "/health";
    std::chrono::milliseconds wake_timeout{0}; // dedicated: how long a start may take; 0: no waker
    std::string space, api_name;               // kind space
    std::vector<std::string> models; // `models:`: names and patterns that it runs, for `route: auto` only
    std::uint64_t id = 0; // hash of name and everything that makes it the same upstream over a reload

    // Off since every token it names is empty.
    [[nodiscard]] bool without_token() const;
};

// One upstream in a route; entries of equal `rank` share load by weight.
struct route_entry
{
    const upstream* to = nullptr;
    std::string model; // name there; empty: the name asked for (or the entry's own name when asked by alias)
    std::uint32_t weight = 1;
    std::uint32_t rank = 0;
    std::string provider; // serverless: the one that is asked, and `model` is its own name for it; empty: the
                          // router chooses
};

struct fallback
{
    std::set<outcome> on; // outcomes that move on to the next candidate
    std::uint32_t attempts = 3;
    std::chrono::milliseconds deadline{600'000};
    std::chrono::milliseconds max_wait{30'000}; // longest wait for a cooldown to end
};

struct model_entry
{
    std::string name;                // as it stands in the policy; may be a pattern
    bool pattern = false;            // holds `*`
    std::string literal_prefix;      // what stands before the first `*`
    const task_info* task = nullptr; // null: not said
    std::string task_name;
    std::vector<std::string> aliases;
    std::vector<route_entry> route; // ascending rank
    bool automatic = false; // `route: auto`: `route` holds all that could be, and the Hub says which are
    config::fallback fallback;
};

struct client
{
    std::string name;
    std::vector<std::string> key_digests; // 32 raw bytes each: SHA-256 of a key
    std::vector<std::string> models;      // names and patterns; empty: every model
};

// `limits:`. Every one has a status and an error that names the key.
struct limits
{
    std::size_t header_bytes = 32 * 1024;
    std::size_t header_fields = 100;
    std::size_t target_bytes = 8192;
    std::uint64_t payload_bytes = 64ULL << 20U; // decoded
    std::uint64_t json_bytes = 8ULL << 20U;     // apart from the payload
    std::size_t json_depth = 64;
    std::size_t json_tokens = 1'000'000;
    std::size_t response_header_bytes = 64 * 1024;
    std::size_t response_header_fields = 200;
    std::size_t response_interim = 8; // 1xx heads before the answer
    std::chrono::milliseconds header_timeout{10'000};
    std::chrono::milliseconds body_grace{10'000}; // then at least body_min_rate bytes a second
    std::size_t body_min_rate = 1024;
    std::chrono::milliseconds idle_timeout{60'000};  // kept-alive connection without a request
    std::chrono::milliseconds write_timeout{60'000}; // a client that does not read
    bool half_close = false;     // a client that closed its half behind its request still gets its answer
    std::size_t connections = 0; // of all clients; 0: 4096, or half of the files the process may open
    std::size_t connections_per_client = 256; // of one key, or of one address when nobody has a key
    std::chrono::milliseconds pre_stop{0};    // after SIGTERM /ready says 503, the listeners stay open
    std::chrono::milliseconds drain{30'000};  // then, for what is in flight
    std::chrono::milliseconds waiting_comment{15'000}; // `: waiting` to a streaming client
};

struct spool
{
    std::string dir = "/var/tmp";
    std::uint64_t memory_per_body = 256 * 1024;
    std::uint64_t memory = 64ULL << 20U;
    std::uint64_t disk = 4ULL << 30U;
    friend bool operator==(const spool&, const spool&) = default;
};

// `hub:`: where the ways and the task of a model are looked up.
struct hub
{
    bool on = false;                          // there is a `hub:`, or a `route: auto`
    url at;                                   // default: https://huggingface.co
    bool checks_private = true;               // the default host
    const token* with = nullptr;              // null, or empty: asked without one
    std::chrono::milliseconds cache{600'000}; // how long an answer is good; a no: at most 1 min
    std::string ca_file;
    std::string proxy; // HTTP CONNECT proxy; empty: none
};

// Lets a map of strings be searched by string_view.
struct name_hash
{
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const { return std::hash<std::string_view>{}(name); }
};

struct settings
{
    std::string file; // empty: made without one
    std::vector<listener> listen{listener{.at = {.host = "127.0.0.1", .port = 8080}}};
    address admin{.host = "127.0.0.1", .port = 8081};
    std::string admin_key_digest; // empty: none asked
    std::vector<std::unique_ptr<token>> tokens;
    std::vector<std::unique_ptr<upstream>> upstreams;
    std::vector<std::unique_ptr<model_entry>> models;
    std::vector<client> clients;
    bool open = true; // no `clients:`: everybody who reaches the (loopback) listener may call
    config::limits limits;
    config::spool spool;
    config::hub hub;
    std::vector<std::string> notes; // said once at start: upstreams that are off, ...

    // The entry for a name: exact name or alias, else the pattern with the longest literal prefix; null:
    // none.
    [[nodiscard]] const model_entry* find(std::string_view model) const;
    // The same without exact names and aliases.
    [[nodiscard]] const model_entry* find_pattern(std::string_view model) const;
    [[nodiscard]] const upstream* find_upstream(std::string_view name) const;

    std::unordered_map<std::string, const model_entry*, name_hash, std::equal_to<>>
        by_name;                              // names and aliases
    std::vector<const model_entry*> patterns; // longest literal prefix first
};

// Fills by_name and patterns from `models`. Settings made by hand need it; load.hpp's have it done.
void index_models(settings& of);

} // namespace gw::config
