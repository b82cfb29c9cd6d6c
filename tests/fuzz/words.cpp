// What an upstream says becomes one short line of clean text that hides tokens and payloads, whatever it was.
#include "adapters/words.hpp"
#include "adapters/classify.hpp"
#include "adapters/exchange.hpp"

#include "clean.hpp"
#include "property.hpp"
#include "wire/retry.hpp"

#include <algorithm>
#include <string>

using namespace gw;
using namespace gw::adapters;

GW_FUZZ(input)
{
    for (const std::size_t limit : {500u, 60u, 5u}) {
        const std::string clean = clean_words(input, limit);
        require_clean(clean, limit);
        require(clean_words(clean, limit) == clean, "clean text stays as it is");
    }
    for (const std::string_view type : {"application/json", "text/plain", "text/html"}) {
        const upstream_words said = read_words(input, type);
        require(said.status == 0 || (said.status >= 100 && said.status <= 599), "a status or none");
        require(!said.html || said.message.empty(), "a web page says nothing");
    }
    for (const std::string_view name : {"", "error"}) {
        require(is_error_event(name, input) || name.empty(), "an error is an error");
    }
    (void)has_content(input);
    usage used;
    read_usage(input, used);

    // The verdict on an answer with this body, for every status and whoever answers.
    for (const int status : {200, 302, 400, 401, 402, 403, 404, 413, 422, 424, 429, 500, 502, 503, 504}) {
        for (const auto engine : {config::engine::toolkit, config::engine::openai}) {
            facts of{
                .kind = config::kind::dedicated, .engine = engine, .chat = engine == config::engine::openai
            };
            of.status = status;
            of.content_type = "application/json";
            of.body = input;
            of.first_event = status == 200;
            const verdict made = classify(of);
            require(made.what != outcome::ok, "an error is no answer");
            require_clean(made.text, 1000);
            require(!made.text.empty(), "something is said");
            require(made.status >= 100 && made.status <= 599, "a status");
            require(
                !made.retry_after ||
                    (made.retry_after->count() >= 0 && *made.retry_after <= wire::longest_wait),
                "a wait within bounds"
            );
            require(made.what != outcome::rejected || made.status >= 400, "a refusal has its status");
        }
    }
}
