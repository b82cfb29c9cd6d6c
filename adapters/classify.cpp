#include "adapters/classify.hpp"

#include "adapters/signs.hpp"
#include "adapters/words.hpp"
#include "payload/media_type.hpp"
#include "wire/retry.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace gw::adapters {
namespace {

using namespace signs;
using milliseconds = std::chrono::milliseconds;

// --- the rows ---

enum class words : std::uint8_t {
    ours,   // our sentence alone: the upstream's words name accounts, or are a web page
    both,   // our sentence, then the upstream's words
    theirs, // the upstream's words alone, ours if it said nothing
};

struct row
{
    int from;
    int to;
    bool (*holds)(const seen&);
    outcome what;
    scope where;
    words say;
    std::string_view text; // without a full stop: words may follow
    bool permanent = false;
    int as_status = 0; // 0: the upstream's own
};

// The first row that holds decides. Every status from 400 to 599 ends in a row that always holds.
// clang-format off: two lines a row
constexpr std::array rows{
    // 400: the router's "nobody has it", the platform's "paused", the toolkit's word for everything
    row{400, 400, web_page, outcome::unavailable, scope::model_task, words::ours,
        "a proxy in front of the upstream refused the request with a web page"},
    row{400, 400, paused, outcome::unavailable, scope::upstream, words::ours,
        "the endpoint is paused: it runs again when its owner resumes it"},
    row{400, 400, no_provider, outcome::unsupported, scope::model_task, words::both,
        "no provider serves this model here"},
    row{400, 400, model_unknown, outcome::unsupported, scope::model_task, words::both,
        "the upstream does not have this model"},
    row{400, 400, toolkit_echo, outcome::rejected, scope::none, words::theirs,
        "the upstream could not use the input"},
    row{400, 400, accept_refused, outcome::unsupported, scope::model_task, words::ours,
        "the upstream cannot answer in the form that this task needs"},
    row{400, 400, content_type_refused, outcome::unsupported, scope::none, words::ours,
        "the upstream does not take this media type"},
    row{400, 400, toolkit_hardware, outcome::unavailable, scope::model_task, words::both,
        "the upstream ran out of memory or its accelerator failed"},
    row{400, 400, task_unknown, outcome::unsupported, scope::model_task, words::both,
        "the upstream cannot run this task", true},

    // tokens: the words name accounts, so they stay in the log
    row{401, 401, gated, outcome::token_rejected, scope::token_model, words::ours,
        "the upstream's token has no access to this model"},
    row{401, 401, by_provider, outcome::token_rejected, scope::token_model, words::ours,
        "the provider did not accept the upstream's token"},
    row{401, 401, serverless, outcome::token_rejected, scope::token_everywhere, words::ours,
        "the upstream's token is not valid"},
    row{401, 401, always, outcome::token_rejected, scope::token_upstream, words::ours,
        "the upstream did not accept its token"},
    row{402, 402, serverless, outcome::out_of_credits, scope::token_serverless, words::ours,
        "the credits of the upstream's token are used up"},
    row{402, 402, always, outcome::out_of_credits, scope::token_upstream, words::ours,
        "the credits of the upstream's token are used up"},
    row{403, 403, web_page, outcome::unavailable, scope::model_task, words::ours,
        "a proxy in front of the upstream refused the request with a web page"},
    row{403, 403, inference_providers, outcome::token_rejected, scope::token_serverless, words::ours,
        "the upstream's token may not call Inference Providers"},
    row{403, 403, gated, outcome::token_rejected, scope::token_model, words::ours,
        "the upstream's token has no access to this model"},
    row{403, 403, by_provider, outcome::token_rejected, scope::token_model, words::ours,
        "the provider refused the upstream's token"},
    row{403, 403, always, outcome::token_rejected, scope::token_upstream, words::ours,
        "the upstream refused its token"},

    // not there
    row{404, 404, web_page, outcome::unsupported, scope::model_task, words::ours,
        "the upstream does not have this model or route"},
    row{404, 405, always, outcome::unsupported, scope::model_task, words::both,
        "the upstream does not have this model or route"},
    row{410, 410, always, outcome::unsupported, scope::model_task, words::both,
        "the upstream no longer has this model"},
    row{451, 451, always, outcome::unsupported, scope::model_task, words::both,
        "the upstream may not serve this model"},

    // sizes and forms
    row{413, 414, always, outcome::too_large, scope::none, words::both,
        "the request is too large for the upstream"},
    row{406, 406, always, outcome::unsupported, scope::none, words::both,
        "the upstream cannot answer in the form that this task needs"},
    row{415, 415, always, outcome::unsupported, scope::none, words::both,
        "the upstream does not take this media type"},
    row{422, 422, batch_size, outcome::too_large, scope::none, words::both,
        "the batch is too large for the upstream"},

    // full
    row{429, 429, no_quota, outcome::out_of_credits, scope::token_upstream, words::ours,
        "the credits of the upstream's token are used up"},
    row{429, 429, always, outcome::rate_limited, scope::token_model, words::ours,
        "the upstream is rate limited"},

    // its own faults under a status of the client's
    row{424, 424, wrong_kind_of_model, outcome::unsupported, scope::model_task, words::both,
        "the upstream's model cannot do this task", true},
    row{424, 424, always, outcome::unavailable, scope::model_task, words::both,
        "the upstream failed while it computed the answer"},
    row{407, 408, always, outcome::unavailable, scope::model_task, words::ours,
        "the upstream, or a proxy before it, did not take the request"},
    row{421, 421, always, outcome::unavailable, scope::model_task, words::ours,
        "the upstream, or a proxy before it, did not take the request"},
    row{423, 423, always, outcome::unavailable, scope::model_task, words::ours,
        "the upstream, or a proxy before it, did not take the request"},
    row{425, 426, always, outcome::unavailable, scope::model_task, words::ours,
        "the upstream, or a proxy before it, did not take the request"},
    row{431, 431, always, outcome::unavailable, scope::model_task, words::ours,
        "the upstream, or a proxy before it, did not take the request"},
    row{499, 499, always, outcome::unavailable, scope::model_task, words::ours,
        "the upstream dropped the request"},
    row{400, 499, web_page, outcome::unavailable, scope::model_task, words::ours,
        "a proxy in front of the upstream refused the request with a web page"},
    row{400, 499, always, outcome::rejected, scope::none, words::theirs,
        "the upstream refused the request without saying why"},

    // 5xx
    row{500, 500, client_fault_500, outcome::rejected, scope::none, words::theirs,
        "the upstream could not use the request", false, 400},
    row{500, 500, always, outcome::unavailable, scope::model_task, words::both,
        "the upstream failed"},
    row{501, 501, always, outcome::unsupported, scope::model_task, words::both,
        "the upstream cannot do this"},
    row{502, 502, asleep_502, outcome::warming, scope::upstream, words::ours,
        "the endpoint is scaled to zero and starting"},
    row{503, 503, queue_full, outcome::rate_limited, scope::token_model, words::ours,
        "the upstream's queue is full"},
    row{503, 503, unhealthy, outcome::unavailable, scope::upstream, words::both,
        "the upstream is not healthy"},
    row{503, 503, model_loading, outcome::warming, scope::model_task, words::both,
        "the model is loading"},
    row{503, 503, loading, outcome::warming, scope::upstream, words::both,
        "the model is loading"},
    row{503, 503, asleep_503, outcome::warming, scope::upstream, words::ours,
        "the endpoint is scaled to zero and starting"},
    row{503, 503, starting, outcome::warming, scope::upstream, words::ours,
        "the upstream is starting"},
    row{502, 504, by_provider, outcome::unavailable, scope::model_task, words::both,
        "the provider behind the upstream failed"},
    row{502, 503, always, outcome::unavailable, scope::upstream, words::both,
        "the upstream is unavailable"},
    row{504, 504, always, outcome::unavailable, scope::upstream, words::both,
        "the upstream did not answer its own proxy in time"},
    row{520, 527, always, outcome::unavailable, scope::upstream, words::ours,
        "the upstream could not be reached by its own proxy"},
    row{529, 529, always, outcome::rate_limited, scope::token_model, words::ours,
        "the upstream is overloaded"},
    row{530, 530, always, outcome::unavailable, scope::upstream, words::ours,
        "the upstream could not be reached by its own proxy"},
    row{500, 599, always, outcome::unavailable, scope::model_task, words::both,
        "the upstream failed"},
};
// clang-format on

// --- 1xx, 2xx, 3xx: the head decides ---

verdict no_answer(const facts& of, std::string text)
{
    return {
        .what = outcome::unavailable, .where = scope::model_task, .status = of.status, .text = std::move(text)
    };
}

// Why this 2xx is no answer; empty: it is one.
std::string_view wrong_answer(const facts& of)
{
    if (of.status >= 204 && of.status <= 206) {
        return "the upstream answered without the whole content";
    }
    if (!of.content_encoding.empty() && lower_case(of.content_encoding) != "identity") {
        return "the upstream compressed its answer, which was not asked for";
    }
    if (is_html(of.content_type)) {
        return "the upstream answered with a web page";
    }
    if (is_event_stream(of.content_type)) {
        return of.stream ? "" : "the upstream answered with an event stream, which was not asked for";
    }
    if (of.wanted == expects::anything || of.content_type.empty() || payloads::is_json(of.content_type)) {
        return "";
    }
    if (of.wanted == expects::bytes && is_media(of.content_type)) {
        return "";
    }
    return of.wanted == expects::json ? "the upstream's answer is not JSON"
                                      : "the upstream's answer is no image or audio";
}

// The time that the headers tell.
std::optional<milliseconds> told_time(const facts& of)
{
    if (const auto wait = wire::retry_after(of.retry_after, of.wall)) {
        return wait;
    }
    if (const auto limit = wire::parse_rate_limit(of.rate_limit); limit && limit->remaining == 0) {
        return limit->reset;
    }
    return std::nullopt;
}

verdict success(const facts& of)
{
    if (const std::string_view why = wrong_answer(of); !why.empty()) {
        verdict bad = no_answer(of, std::string(why));
        bad.detail = "content-type: " + clean_words(of.content_type, 100);
        return bad;
    }
    verdict good{.what = outcome::ok, .status = of.status};
    // the budget is used up: the token rests, the answer is good. (A Retry-After on a 200 means nothing.)
    if (const auto limit = wire::parse_rate_limit(of.rate_limit); limit && limit->remaining == 0) {
        good.where = scope::token_model;
        good.retry_after = limit->reset;
    }
    return good;
}

// --- putting it together ---

std::string sentence(const row& by, const seen& s)
{
    const std::string theirs =
        s.said.html || by.say == words::ours ? std::string{} : clean_words(s.said.message);
    if (theirs.empty()) {
        return std::string(by.text);
    }
    if (by.say == words::theirs) {
        return theirs;
    }
    return clean_words(std::string(by.text) + ": " + theirs);
}

std::string log_line(const seen& s)
{
    std::string line = "status " + std::to_string(s.of.status);
    if (!s.of.content_type.empty()) {
        line += ", " + clean_words(s.of.content_type, 100);
    }
    if (!s.of.error_code.empty()) {
        line += ", " + clean_words(s.of.error_code, 100);
    }
    if (s.of.first_event) {
        line += ", in an event";
    }
    if (const std::string said = clean_words(s.said.message); !said.empty()) {
        line += ": " + said;
    }
    return line;
}

verdict failed(const facts& of)
{
    const seen s = signs::read(of);

    const auto found = std::ranges::find_if(rows, [&](const row& each) {
        return s.status >= each.from && s.status <= each.to && each.holds(s);
    });
    if (found == rows.end()) { // no status of HTTP
        return no_answer(of, "the upstream's answer has no meaning");
    }

    verdict made{
        .what = found->what,
        .where = found->where,
        .status = found->as_status != 0 ? found->as_status : s.status,
        .retry_after = told_time(of),
        .permanent = found->permanent,
        .text = sentence(*found, s),
        .detail = log_line(s),
        .error_type = clean_words(!s.said.type.empty() ? s.said.type : s.said.code, 100),
    };
    if (!made.retry_after && made.what == outcome::warming && s.said.estimated_time >= 0) {
        constexpr double hour = 3600;
        made.retry_after =
            milliseconds(static_cast<std::int64_t>(std::min(s.said.estimated_time, hour) * 1000));
    }
    if (made.what == outcome::rejected) {
        made.retry_after.reset();
    }
    return made;
}

} // namespace

void add_head(facts& to, const wire::response_head& head)
{
    to.status = head.status;
    to.content_type = head.content_type;
    to.content_encoding = head.content_encoding;
    to.retry_after = head.retry_after;
    to.rate_limit = head.ratelimit;
    to.error_code = head.error_code;
    to.error_text = head.error_message;
    to.provider = head.x_inference_provider;
    to.compute_type = head.compute_type;
}

bool decided_by_head(int status)
{
    return status < 400;
}

verdict classify(const facts& of)
{
    if (of.first_event || of.status >= 400) {
        return failed(of);
    }
    if (of.status >= 300) {
        verdict redirect = no_answer(of, "the upstream answered with a redirect, which is never followed");
        redirect.as_code = code::upstream_redirect;
        return redirect;
    }
    if (of.status >= 200) {
        return success(of);
    }
    return no_answer(of, "the upstream wanted to change the protocol");
}

} // namespace gw::adapters
