-- As docs/operator.md explains it.
local wanted = {MR = true, SEG = true, RTSTRUCT = true, REG = true}

function OnStableSeries(seriesId, tags, metadata)
  if wanted[tags["Modality"]] then
    RestApiPost("/modalities/axrad/store", DumpJson({Resources = {seriesId}, Asynchronous = true}))
  end
end
