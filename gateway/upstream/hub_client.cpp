#include "upstream/hub_client.hpp"

#include "hub/read.hpp"
#include "net/deadline.hpp"
#include "upstream/exchange.hpp"
#include "wire/field.hpp"

#include <utility>

namespace gw::upstream {
namespace {

constexpr auto connect_limit = std::chrono::seconds(5);
constexpr exchange_limits limits{
    .first_byte = std::chrono::milliseconds(10'000), .idle = std::chrono::milliseconds(5'000), .head = {}
};

// All that counts of a head that goes with its connection.
std::string copy(std::string_view value)
{
    return std::string(value.substr(0, 1024));
}

constexpr std::size_t most_spaces = 10; // of which a command asks the stage
constexpr auto longest_command = std::chrono::seconds(30);

net::task<void> view_of(
    hub_client& client,
    const hub_place& where,
    std::string model,
    with_spaces stages,
    net::interrupt& stop,
    hub_view& into
)
{
    hub::judgement made = co_await client.model(where, std::move(model), stop);
    into.is = std::move(made.is);
    if (!into.is.of || stages == with_spaces::no) {
        co_return;
    }
    for (const auto& each : into.is.of->spaces) {
        if (into.stages.size() == most_spaces) {
            break;
        }
        std::string stage = co_await client.stage(where, each, stop);
        into.stages.emplace_back(each, std::move(stage));
    }
}

} // namespace

struct hub_client::page
{
    int status = 0;
    std::string content_type;
    std::string error_code;
    std::string error_message;
    std::string retry_after;
    std::string ratelimit;
    std::string location;
    std::string body;
};

result<std::shared_ptr<const hub_place>> place_of(const config::hub& hub)
{
    auto made = std::make_shared<hub_place>();
    made->base_path = hub.at.base_path;
    made->at.host = hub.at.host;
    made->at.port = hub.at.port;
    made->at.host_header = hub.at.host_header;
    made->at.checks_private = hub.checks_private;
    made->at.key = hub.at.origin;
    made->at.base = hub.at.origin;
    if (hub.with != nullptr && !hub.with->value.empty()) {
        made->token = hub.with->value;
        made->token_name = hub.with->name;
    }
    if (hub.at.tls) {
        auto roots = trust_in(hub.ca_file);
        if (!roots) {
            failure why = std::move(roots).error();
            why.text = "hub: " + why.text;
            return std::unexpected(std::move(why));
        }
        made->at.tls = std::move(roots->context);
        made->at.key += " ca=" + hub.ca_file + "#" + std::to_string(roots->content);
    }
    go_through(made->at, hub.proxy);
    made->at.key += " proxy=" + hub.proxy;
    return made;
}

net::task<result<hub_client::page>>
hub_client::get(const hub_place& where, std::string target, bool with_token, net::interrupt& stop)
{
    std::string head = "GET " + where.base_path + target + " HTTP/1.1\r\nhost: " + where.at.host_header +
                       "\r\nuser-agent: fourways/" + version_ +
                       "\r\naccept: application/json\r\naccept-encoding: identity\r\n";
    if (with_token && !where.token.empty()) {
        head += "authorization: Bearer ";
        head += where.token.reveal();
        head += "\r\n";
    }
    head += "\r\n";

    // A kept connection may just be closing: then once more, on a fresh one.
    for (int attempt = 0;; ++attempt) {
        auto lease = co_await pool_.borrow(where.at, net::clock::now() + connect_limit, stop);
        if (!lease) {
            co_return fail(lease);
        }
        exchange talk(std::move(*lease), stop, limits);
        page made;
        auto sent = co_await talk.send(head, {}, {});
        result<void> done = sent;
        if (sent) {
            auto answered = co_await talk.head();
            if (!answered) {
                done = fail(answered);
            } else {
                const wire::response_head& is = **answered;
                made.status = is.status;
                made.content_type = copy(is.content_type);
                made.error_code = copy(is.error_code);
                made.error_message = copy(is.error_message);
                made.retry_after = copy(is.retry_after);
                made.ratelimit = copy(is.ratelimit);
                made.location = copy(is.location);
            }
        }
        while (done) {
            auto bytes = co_await talk.next();
            if (!bytes) {
                done = fail(bytes);
            } else if (bytes->empty()) {
                break;
            } else if (made.body.size() + bytes->size() > hub::longest_answer) {
                done = std::unexpected(failure{
                    .what = code::too_large, .from = origin::upstream, .text = "its answer is too long"
                });
            } else {
                made.body.append(*bytes);
            }
        }
        co_await talk.close();
        if (done) {
            co_return made;
        }
        if (attempt > 0 || done.error().again != retry::if_reused || stop.fired()) {
            co_return fail(done);
        }
    }
}

net::task<hub::judgement>
hub_client::ask(const hub_place& where, const std::string& model, bool with_token, net::interrupt& stop)
{
    auto got = co_await get(where, hub::model_target(model), with_token, stop);
    if (!got) {
        hub::judgement made;
        const std::string why = got.error().text.empty() ? "it did not answer in time" : got.error().text;
        made.is = hub::away(why);
        made.only_this = got.error().what == code::too_large;
        co_return made;
    }
    if (!where.token.empty() && got->body.contains(where.token.reveal())) {
        hub::judgement made;
        made.is = hub::away("its answer holds our token");
        co_return made;
    }
    const hub::asker who{.model = model, .token = with_token ? std::string_view(where.token_name) : ""};
    const hub::reply reply{
        .status = got->status,
        .content_type = got->content_type,
        .error_code = got->error_code,
        .error_message = got->error_message,
        .retry_after = got->retry_after,
        .ratelimit = got->ratelimit,
        .location = got->location,
        .body = got->body
    };
    co_return hub::judge(who, reply, std::chrono::system_clock::now());
}

net::task<hub::judgement> hub_client::model(const hub_place& where, std::string model, net::interrupt& stop)
{
    hub::judgement first = co_await ask(where, model, true, stop);
    if (first.renamed.empty()) {
        co_return first;
    }
    hub::judgement second = co_await ask(where, first.renamed, false, stop);
    if (second.is.what == hub_says::unknown || !second.renamed.empty()) {
        second.is.what = hub_says::unknown;
        second.is.of = nullptr;
        second.is.text = "the model `" + model + "` has another name now: ask for `" + first.renamed + "`";
    }
    co_return second;
}

net::task<std::string> hub_client::stage(const hub_place& where, std::string space, net::interrupt& stop)
{
    auto got = co_await get(where, hub::runtime_target(space), true, stop);
    co_return got && got->status == 200 ? hub::read_stage(got->body) : std::string();
}

hub_view
look_once(const hub_place& where, const std::string& model, std::string_view version, with_spaces stages)
{
    net::resolver names;
    net::loop loop;
    pool connections(loop, names);
    hub_client client(connections, version);
    net::interrupt stop;
    net::deadline limit(loop.deadlines, &stop, [](void* its) {
        static_cast<net::interrupt*>(its)->fire(code::timeout);
    });
    limit.arm(net::clock::now() + longest_command);

    hub_view made;
    net::spawn(view_of(client, where, model, stages, stop, made), [&](const std::exception_ptr&) {
        connections.clear();
        loop.finish();
    });
    loop.run();
    return made;
}

} // namespace gw::upstream
